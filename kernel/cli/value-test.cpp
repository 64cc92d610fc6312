#include "value.h"

#include <catch2/catch.hpp>

#include <functional>
#include <string>
#include <vector>

#include "entry.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::cli {
namespace {

// The text of the refusal, or empty.
std::string valueRefusal(const std::function<void()>& parse) {
  auto outcome = attemptNow([&] { parse(); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

template <typename T>
struct Good {
  const char* text;
  T value;
};

TEST_CASE("cli: durations are those of Go", "[cli]") {
  for (auto [text, ms] : std::vector<Good<uint64_t>>{{"0", 0},
                                                     {"0s", 0},
                                                     {"10s", 10'000},
                                                     {"1m30s", 90'000},
                                                     {"100ms", 100},
                                                     {"1.5h", 5'400'000},
                                                     {"2h45m", 9'900'000},
                                                     {"1000us", 1},
                                                     {"1500ms", 1500},
                                                     {".5s", 500}}) {
    INFO(text);
    CHECK(parseDurationMs("--x", text) == ms);
  }
  for (auto text :
       {"", "5", "-5s", "s", "5 s", "5x", "1.2.3s", "5s ", "1us", "999999999h", "10S"}) {
    INFO(text);
    CHECK(valueRefusal([&] {
            parseDurationMs("--x", text);
          }).rfind(std::string("usage: invalid value '") + text + "' for --x: expected ", 0) == 0);
  }
}

TEST_CASE("cli: sizes are powers of 1024", "[cli]") {
  for (auto [text, bytes] : std::vector<Good<uint64_t>>{{"0", 0},
                                                        {"1024", 1024},
                                                        {"64m", 64 << 20},
                                                        {"1g", 1 << 30},
                                                        {"512k", 512 << 10},
                                                        {"512K", 512 << 10},
                                                        {"1GiB", 1 << 30},
                                                        {"1.5m", 1572864},
                                                        {"10b", 10},
                                                        {"2 MB", 2 << 20},
                                                        {"1t", 1ull << 40}}) {
    INFO(text);
    CHECK(parseSizeBytes("--x", text) == bytes);
  }
  for (auto text :
       {"", "m", "-1", "1x", "1mm", "1 2m", "1.2.3m", "99999999p", "18446744073709551615"}) {
    INFO(text);
    CHECK(valueRefusal([&] { parseSizeBytes("--x", text); }) != "");
  }
}

TEST_CASE("cli: cores are exact to the ninth place", "[cli]") {
  for (auto [text, nanos] : std::vector<Good<uint64_t>>{{"0", 0},
                                                        {"0.5", 500'000'000},
                                                        {"2", 2'000'000'000},
                                                        {".25", 250'000'000},
                                                        {"1.000000001", 1'000'000'001},
                                                        {"0.001", 1'000'000}}) {
    INFO(text);
    CHECK(parseCpuNanos("--x", text) == nanos);
  }
  for (auto text : {"", ".", "-1", "0.0009", "1.0000000001", "1,5", "1e3", "abc", "1.5.5"}) {
    INFO(text);
    CHECK(valueRefusal([&] { parseCpuNanos("--x", text); }) != "");
  }
}

TEST_CASE("cli: a wrong choice is answered with what there is", "[cli]") {
  CHECK(parseChoice("--x", "on-failure", "any|on-failure|none") == 1);
  CHECK(valueRefusal([] { parseChoice("--x", "never", "any|on-failure|none"); }) ==
        "usage: invalid value 'never' for --x: expected any, on-failure or none");
  CHECK(valueRefusal([] { parseWhole("--replicas", "many", 0, 10); }) ==
        "usage: invalid value 'many' for --replicas: expected a whole number from 0 to 10");
  CHECK(valueRefusal([] { parseWhole("--replicas", "-1", 0, 10); }) != "");
  CHECK(valueRefusal([] { parseWhole("--replicas", "", 0, 10); }) != "");
  CHECK(valueRefusal([] { parseRatio("--x", "1.1"); }) != "");
  CHECK(parseRatio("--x", "0.25") == 0.25f);
}

TEST_CASE("cli: a moment is a date, seconds or a duration ago", "[cli]") {
  constexpr int64_t NOW = 1'700'000'000'000'000'000;
  CHECK(parseMomentNs("--since", "10m", NOW) == NOW - 600'000'000'000);
  CHECK(parseMomentNs("--since", "1700000000", NOW) == NOW);
  CHECK(parseMomentNs("--since", "2023-11-14T22:13:20Z", NOW) == NOW);
  CHECK(parseMomentNs("--since", "2023-11-14T22:13:20.5Z", NOW) == NOW + 500'000'000);
  CHECK(parseMomentNs("--since", "2023-11-15T00:13:20+02:00", NOW) == NOW);
  CHECK(parseMomentNs("--since", "2023-11-14", NOW) == 1'699'920'000'000'000'000);
  for (auto text : {"", "yesterday", "2023-13-01", "10", "2023-11-14T", "99999999999999"}) {
    if (std::string(text) == "10") continue;  // ten seconds after the epoch
    INFO(text);
    CHECK(valueRefusal([&] { parseMomentNs("--since", text, NOW); }) != "");
  }
}

}  // namespace
}  // namespace orch::cli
