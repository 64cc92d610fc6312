#include "address.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::discovery {
namespace {

template <typename F>
std::string joinedOr(F&& parse) {
  auto parsed = attemptNow([&] { return parse(); });
  if (!parsed.ok()) return std::string("! ") + parsed.message().cStr();
  std::string all;
  for (auto& address : parsed.value()) all += (all.empty() ? "" : " ") + address;
  return all;
}
std::string expanded(std::string_view text) {
  return joinedOr([&] { return expandAddresses(text); });
}
std::string ofFile(std::string_view text) {
  return joinedOr([&] { return parseHostFile(text, "hosts"); });
}

struct Row {
  const char* text;
  const char* result;  // or how the refusal begins
};
void check(const Row& row, const std::string& result) {
  INFO(row.text);
  std::string wanted = row.result;
  if (wanted.starts_with("!")) {
    CHECK(result.substr(0, wanted.size()) == wanted);
  } else {
    CHECK(result == wanted);
  }
}

TEST_CASE("address: ranges are expanded as classic Swarm did", "[discovery]") {
  const Row rows[] = {
      {"127.0.0.1:8080", "127.0.0.1:8080"},
      {"127.0.0.[1:3]:8080", "127.0.0.1:8080 127.0.0.2:8080 127.0.0.3:8080"},
      {"10.0.0.[9:11]:2375", "10.0.0.9:2375 10.0.0.10:2375 10.0.0.11:2375"},  // no zeros before
      {"host-[1:2].example:1", "host-1.example:1 host-2.example:1"},
      {"host:[80:82]", "host:80 host:81 host:82"},
      {"10.[0:1].0.1:1", "10.0.0.1:1 10.1.0.1:1"},
      {"10.0.0.[7:7]:1", "10.0.0.7:1"},
      {"[2001:db8::1]:2375", "[2001:db8::1]:2375"},  // brackets that are no range
      {"[::1]:1", "[::1]:1"},
  };
  for (auto& row : rows) check(row, expanded(row.text));
}

TEST_CASE("address: what classic Swarm took as it stood, or as nothing, is refused",
          "[discovery]") {
  const Row rows[] = {
      {"10.0.0.[5:1]:1", "! '10.0.0.[5:1]:1' has a range that is none; accepted: [a:b]"},
      {"10.0.0.[1:e]:1", "! '10.0.0.[1:e]:1' has a character that no host has"},
      {"10.0.0.[1]:1", "! '10.0.0.[1]:1' has a character that no host has"},
      {"10.0.0.[:3]:1", "!"},
      {"10.0.0.[1:]:1", "!"},
      {"10.0.0.[-1:3]:1", "!"},
      {"10.0.0.[01:3]:1", "! '10.0.0.[01:3]:1' has a range that is none"},
      {"10.0.[0:1].[1:2]:1", "! '10.0.[0:1].[1:2]:1' has more than one range"},
      {"10.0.0.[1:4097]:1", "! '10.0.0.[1:4097]:1' has a range of more than 4096 addresses"},
      {"10.0.0.[0:4294967295]:1", "!"},
      {"10.0.0.[0:99999999999999999999]:1", "!"},
      {"10.0.0.[250:256]:1", "! '10.0.0.256:1' has no IPv4 address"},
      {"%d.[1:2]:1", "! '%d.1:1' has a character that no host has"},
      {"10.0.0.1", "! '10.0.0.1' is no address; accepted: host:port"},
      {"10.0.0.1:", "! '10.0.0.1:' has no port"},
      {"10.0.0.1:0", "! '10.0.0.1:0' has no port"},
      {"10.0.0.1:65536", "! '10.0.0.1:65536' has no port"},
      {"10.0.0.1:023", "! '10.0.0.1:023' has no port"},
      {"10.0.0.1:+23", "!"},
      {":2375", "! ':2375' is no address"},
      {"http://10.0.0.1:1", "! 'http://10.0.0.1:1' has a character that no host has"},
      {"a b:1", "!"},
      {"::1:1", "!"},
      {"[::1:1", "!"},
      {"[]:1", "!"},
      {"[1:2:3]:1", "! '[1:2:3]:1' has no IPv6 address in its brackets"},
      {"a\n:1", "! 'a?:1' has a character"},
      {"", "!"},
  };
  for (auto& row : rows) check(row, expanded(row.text));
  check({"a long host", "!"}, expanded(std::string(254, 'a') + ":1"));
  check({"a long text", "!"}, expanded(std::string(600, 'a') + ":1"));
}

TEST_CASE("address: equal addresses are equal texts", "[discovery]") {
  CHECK(parseAddress("Host.Example:1") == "host.example:1");
  CHECK(parseAddress("[2001:0DB8:0:0::1]:1") == "[2001:db8::1]:1");
  CHECK(isAddress("host.example:1"));
  CHECK(!isAddress("Host.example:1"));
  CHECK(!isAddress("[2001:0db8::1]:1"));
  CHECK(!isAddress("10.0.0.1"));
}

TEST_CASE("address: a list has commas, and blanks and gaps do not matter", "[discovery]") {
  auto list = [](std::string_view text) { return joinedOr([&] { return parseHostList(text); }); };
  CHECK(list("b:1,a:1") == "a:1 b:1");
  CHECK(list(" b:1 ,, a:[1:2],b:1,") == "a:1 a:2 b:1");
  CHECK(list("") == "");
  CHECK(list("a:1,b").starts_with("! 'b' is no address"));
  CHECK(list("a.[0:4095]:1,b.[0:4095]:1").size() > 70'000);
  CHECK(list("a.[0:4095]:1,b.[0:4095]:1,c.[0:4095]:1") ==
        "! more than 10000 addresses; accepted: as many");
}

TEST_CASE("address: a file has a host a line, comments and ranges, as classic Swarm's",
          "[discovery]") {
  const Row rows[] = {
      {"1.1.1.1:1\n2.2.2.2:2\n", "1.1.1.1:1 2.2.2.2:2"},
      {"2.2.2.2:2\n1.1.1.1:1", "1.1.1.1:1 2.2.2.2:2"},
      {"# all\n1.1.1.1:1 # inline\n\n   # more\n", "1.1.1.1:1"},
      {"1.1.1.1:1#tight\n#2.2.2.2:2\n", "1.1.1.1:1"},
      {"1.1.1.[1:2]:1  # a range\n", "1.1.1.1:1 1.1.1.2:1"},
      {"1.1.1.1:1\r\n\r\n# c\r\n2.2.2.2:2\r\n", "1.1.1.1:1 2.2.2.2:2"},
      {"\t1.1.1.1:1 \n1.1.1.1:1\n", "1.1.1.1:1"},
      {"", ""},
      {"# nobody\n", ""},
      {"1.1.1.1:1\n\n1.1.1\n", "! hosts:3: '1.1.1' is no address"},
      {"1.1.1.1:1 2.2.2.2:2\n", "! hosts:1: '1.1.1.1:1 2.2.2.2:2' has a character"},
  };
  for (auto& row : rows) check(row, ofFile(row.text));
  std::string many;
  for (int i = 0; i < 3; ++i) many += "h" + std::to_string(i) + ".[0:4095]:1\n";
  CHECK(ofFile(many) == "! hosts:3: more than 10000 addresses; accepted: as many");
}

}  // namespace
}  // namespace orch::discovery
