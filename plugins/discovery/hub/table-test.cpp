#include <catch2/catch.hpp>

#include "cluster-table.h"

namespace orch::discovery::hub {
namespace {

using Result = ClusterTable::Result;
constexpr int64_t MINUTE = 60'000;

std::string listOf(ClusterTable& table, const std::string& token, int64_t nowMs) {
  std::vector<Registration> all;
  if (table.list(token, all, nowMs) != Result::DONE) return "none";
  return jsonOf(all, false);
}

TEST_CASE("hub: an entry is there until its time is over or it is taken away", "[discovery]") {
  ClusterTable table({});
  REQUIRE(table.create("t", 0));
  CHECK(listOf(table, "t", 0) == "[]");
  CHECK(table.put("t", {"b:1", "", "", ""}, MINUTE, 0) == Result::DONE);
  CHECK(table.put("t", {"a:1", "manager", "d", "n"}, 3 * MINUTE, 0) == Result::DONE);
  CHECK(listOf(table, "t", MINUTE - 1) == "[\"a:1\",\"b:1\"]");
  CHECK(listOf(table, "t", MINUTE) == "[\"a:1\"]");
  CHECK(table.put("t", {"a:1", "", "", ""}, 3 * MINUTE, 2 * MINUTE) == Result::DONE);
  CHECK(listOf(table, "t", 4 * MINUTE) == "[\"a:1\"]");
  CHECK(table.remove("t", "a:1", 4 * MINUTE) == Result::DONE);
  CHECK(table.remove("t", "a:1", 4 * MINUTE) == Result::DONE);
  CHECK(listOf(table, "t", 4 * MINUTE) == "[]");
  CHECK(listOf(table, "other", 0) == "none");
  CHECK(table.put("other", {"a:1", "", "", ""}, MINUTE, 0) == Result::UNKNOWN);
  CHECK(table.remove("other", "a:1", 0) == Result::UNKNOWN);
}

TEST_CASE("hub: clusters and entries are limited, and an idle cluster makes room", "[discovery]") {
  TableLimits limits;
  limits.clusters = 2;
  limits.entries = 2;
  limits.allEntries = 3;
  limits.forgetAfterMs = 10 * MINUTE;
  ClusterTable table(limits);
  CHECK(table.create("one", 0));
  CHECK(table.create("two", MINUTE));
  CHECK(!table.create("three", 2 * MINUTE));
  auto put = [&](const char* token, const char* address, int64_t now) {
    return table.put(token, {address, "", "", ""}, MINUTE, now);
  };
  CHECK(put("one", "a:1", 2 * MINUTE) == Result::DONE);
  CHECK(put("one", "b:1", 2 * MINUTE) == Result::DONE);
  CHECK(put("one", "c:1", 2 * MINUTE) == Result::FULL);
  CHECK(put("one", "b:1", 2 * MINUTE) == Result::DONE);
  CHECK(put("two", "a:1", 2 * MINUTE) == Result::DONE);
  CHECK(put("two", "b:1", 2 * MINUTE) == Result::FULL);
  CHECK(put("two", "b:1", 3 * MINUTE) == Result::DONE);  // those of `one` are over
  CHECK(!table.create("three", 11 * MINUTE));
  CHECK(table.create("three", 12 * MINUTE));
  CHECK(table.tokens() == std::vector<std::string>{"three", "two"});
}

TEST_CASE("hub: answers are classic's array, or objects", "[discovery]") {
  std::vector<Registration> all = {{"10.0.0.1:1", "", "", ""}, {"h:2", "worker", "ab:c", "n1"}};
  CHECK(jsonOf(all, false) == R"(["10.0.0.1:1","h:2"])");
  CHECK(jsonOf(all, true) ==
        R"([{"address":"10.0.0.1:1","role":"","clusterDigest":"","nodeId":""},)"
        R"({"address":"h:2","role":"worker","clusterDigest":"ab:c","nodeId":"n1"}])");
  CHECK(isPlainWord("sha256:ab-C_1.2", 64));
  CHECK(!isPlainWord("a\"b", 64));
  CHECK(!isPlainWord("a b", 64));
  CHECK(!isPlainWord("abc", 2));
}

}  // namespace
}  // namespace orch::discovery::hub
