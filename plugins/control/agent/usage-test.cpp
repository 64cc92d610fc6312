// What the tasks of a node use.
#include <catch2/catch.hpp>

#include "host-usage.h"
#include "orch/attempt.h"
#include "test-node.h"

namespace orch::control::agent {
namespace {

using UsageAnswerOf = Outcome<capnp::Response<schema::Agent::UsageResults>>;

struct Measured {
  Measured() {
    node.start();
    node.assign({.complete = true, .tasks = {{.id = "t1"}, {.id = "t2"}}});
    node.advance(1 * kj::SECONDS);
  }
  Task<UsageAnswerOf> asking(std::initializer_list<kj::StringPtr> ids, bool host) {
    auto request = KJ_ASSERT_NONNULL(node.manager.agent).usageRequest();
    auto list = request.initTaskIds(ids.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, ids.begin()[i]);
    request.setHost(host);
    return attempt(request.send());
  }
  TestAgent node;
};

}  // namespace

TEST_CASE("usage: a runtime is asked once for all of its tasks, and when somebody asks",
          "[agent]") {
  Measured fixture;
  fixture.node.advance(100 * kj::SECONDS);
  CHECK(fixture.node.runtime.measured.empty());
  auto answer = fixture.asking({"t1", "t2", "t9"}, true).wait(fixture.node.world.waitScope());
  REQUIRE(answer.ok());
  REQUIRE(fixture.node.runtime.measured.size() == 1);
  CHECK(fixture.node.runtime.measured[0] == std::vector<std::string>{"t1", "t2"});
  REQUIRE(answer.value().getUsages().size() == 2);
  CHECK(answer.value().getUsages()[0].getCpuNs() == 7);
  CHECK(answer.value().getHost().getMemoryBytes() > 0);
  CHECK(answer.value().getProblems().size() == 0);
  auto one = fixture.asking({"t2"}, false).wait(fixture.node.world.waitScope());
  REQUIRE(one.ok());
  CHECK(one.value().getUsages().size() == 1);
  CHECK_FALSE(one.value().hasHost());
  CHECK(fixture.node.runtime.measured.size() == 2);
}

TEST_CASE("usage: a runtime that does not answer is left out, and named", "[agent]") {
  Measured fixture;
  fixture.node.runtime.hang();
  auto asking = fixture.asking({"t1"}, true);
  fixture.node.advance(1600 * kj::MILLISECONDS);
  auto answer = kj::mv(asking).wait(fixture.node.world.waitScope());
  REQUIRE(answer.ok());
  CHECK(answer.value().getUsages().size() == 0);
  REQUIRE(answer.value().getProblems().size() == 1);
  CHECK_THAT(answer.value().getProblems()[0].cStr(), Catch::StartsWith("runtime."));
  fixture.node.runtime.resume();
}

TEST_CASE("usage: how busy a host is, is read of its kernel's files", "[agent]") {
  auto usage = parseHostUsage("cpu  1 2 3 1000 50 4 5 70 0 0\ncpu0 1 2 3 1000 50 4 5 70 0 0\n",
                              "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  600 kB\n");
  CHECK(usage.cpuNs == 150'000'000);
  CHECK(usage.memoryBytes == 400 * 1024);
  auto none = parseHostUsage("", "MemTotal: 1000 kB\n");
  CHECK(none.cpuNs == -1);
  CHECK(none.memoryBytes == -1);
}

}  // namespace orch::control::agent
