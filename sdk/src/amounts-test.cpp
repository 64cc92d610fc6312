#include "orch/amounts.h"

#include <catch2/catch.hpp>

namespace orch {
namespace {

TEST_CASE("amounts: durations are read and never overflow", "[amounts]") {
  CHECK(parseDurationMs("1h30m5s7ms") == 5'405'007);
  CHECK(parseDurationMs("2562047h") == 2562047ull * 3'600'000);
  CHECK(parseDurationMs("1.5h") == 5'400'000);
  CHECK(parseDurationMs("0") == 0);
  CHECK(parseDurationMs("1500us") == 2);
  CHECK(parseDurationNs("1us500ns") == 1500);
  CHECK_FALSE(parseDurationMs("1us"));
  for (auto* bad : {"2562048h", "99999999999999999999ms", "9223372036854775807ms1ms", "5", "s", "",
                    "1 s", ".s", "1.2.3s", "-1s"}) {
    INFO(bad);
    CHECK_FALSE(parseDurationNs(bad));
  }
}

TEST_CASE("amounts: sizes are powers of 1024 and never overflow", "[amounts]") {
  CHECK(parseSizeBytes("8589934591g") == 8589934591ull << 30);
  CHECK(parseSizeBytes("9223372036854775807") == INT64_MAX);
  CHECK(parseSizeBytes("1.5GiB") == 3ull << 29);
  for (auto* bad : {"8589934592g", "17179869185g", "99999999999999999999", "9223372036854775808",
                    "k", "1kk", "1bb", "", "-1"}) {
    INFO(bad);
    CHECK_FALSE(parseSizeBytes(bad));
  }
}

TEST_CASE("amounts: cores are exact to the ninth place", "[amounts]") {
  CHECK(parseCpuNanos("1.000000001") == 1'000'000'001);
  CHECK(parseCpuNanos(".25") == 250'000'000);
  CHECK(parseCpuNanos("2.") == 2'000'000'000);
  for (auto* bad : {"", ".", "-1", "1.0000000001", "1000001", "1e3", "1.5.5"}) {
    INFO(bad);
    CHECK_FALSE(parseCpuNanos(bad));
  }
}

TEST_CASE("amounts: what is written can be read", "[amounts]") {
  for (auto& [ms, text] : {std::pair(0, "0s"),
                           {90'000, "1m30s"},
                           {7'200'000, "2h"},
                           {90'500, "1m30s500ms"},
                           {100, "100ms"}}) {
    CHECK(durationText(ms) == text);
    CHECK(parseDurationMs(text) == ms);
  }
  for (auto& [bytes, text] : {std::pair(0, "0b"), {64 << 20, "64m"}, {4'194'303, "4194303b"}}) {
    CHECK(sizeText(bytes) == text);
    CHECK(parseSizeBytes(text) == bytes);
  }
  CHECK(coresText(500'000'000) == "0.5");
  CHECK(coresText(2'000'000'000) == "2");
}

}  // namespace
}  // namespace orch
