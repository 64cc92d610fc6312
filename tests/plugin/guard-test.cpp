// Capabilities that a plugin's service has returned.
#include <catch2/catch.hpp>
#include <signal.h>

#include "orch/fail.h"
#include "test-node.h"

namespace orch {
namespace {

schema::PlacementTable::Client openTable(TestNode& node) {
  auto opened = node.scheduler("test.misbehaves").openRequest().send().wait(node.io.waitScope);
  return opened.getTable();
}

TEST_CASE("guard: calls on what a service has returned are counted and have the deadline",
          "[plugin]") {
  for (auto* isolation : {"kernel", "process"}) {
    TestNode node(misbehaving(isolation));
    auto table = openTable(node);
    CHECK(node.place(table, "n1").wait(node.io.waitScope).ok());
    CHECK(node.callsOf("test.misbehaves") == 2);
    auto call = node.place(table, "hang");
    node.time.advance(DEADLINE);
    auto answer = kj::mv(call).wait(node.io.waitScope);
    REQUIRE_FALSE(answer.ok());
    CHECK(answer.error().getType() == kj::Exception::Type::OVERLOADED);
    CHECK(plainText(answer.error()) ==
          "plugin 'test.misbehaves' has not answered 'place' within 30000 ms");
    CHECK(plainText(node.place(table, "throw").wait(node.io.waitScope).error()) == "as you wish");
  }
}

TEST_CASE("guard: a process that hangs in a call on what it has returned is killed", "[plugin]") {
  TestNode node(misbehaving("process"));
  auto table = openTable(node);
  CHECK(node.place(table, "n1").wait(node.io.waitScope).ok());
  auto pid = node.pidOf("test.misbehaves");
  // It blocks its own loop, so that later calls are not even looked at.
  auto blocked = node.place(table, "block");
  auto second = node.place(table, "n1");
  node.time.advance(DEADLINE);
  CHECK(blocked.wait(node.io.waitScope).error().getType() == kj::Exception::Type::OVERLOADED);
  CHECK(second.wait(node.io.waitScope).error().getType() == kj::Exception::Type::OVERLOADED);
  auto third = node.place(table, "n1");
  node.time.advance(DEADLINE);  // of the ping
  node.waitFor("test.misbehaves", State::WAITING);
  CHECK_FALSE(third.wait(node.io.waitScope).ok());
  node.restartUntil("test.misbehaves", State::RUNNING);
  CHECK(node.pidOf("test.misbehaves") != pid);
  auto answer = node.place(table, "n1").wait(node.io.waitScope);
  CHECK(answer.error().getType() == kj::Exception::Type::DISCONNECTED);
  CHECK(node.place(openTable(node), "n1").wait(node.io.waitScope).ok());
}

TEST_CASE("guard: a process that ends is named with its signal and what it was asked for",
          "[plugin]") {
  TestNode node(misbehaving("process"));
  auto table = openTable(node);
  auto answer = node.place(table, "crash").wait(node.io.waitScope);
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().getType() == kj::Exception::Type::DISCONNECTED);
  CHECK(
      plainText(answer.error()) ==
      "plugin 'test.misbehaves': its process was ended by signal 9 (Killed) while it was asked for "
      "'place'");
}

TEST_CASE("guard: what a plugin has given out ends when it is taken away", "[plugin]") {
  for (auto* isolation : {"kernel", "process"}) {
    TestNode node(misbehaving(isolation));
    auto table = openTable(node);
    CHECK(node.place(table, "n1").wait(node.io.waitScope).ok());
    auto call = node.place(table, "hang");
    node.io.waitScope.poll();
    node.write("");
    node.kernel.reload().wait(node.io.waitScope);
    auto during = kj::mv(call).wait(node.io.waitScope);
    auto after = node.place(table, "n1").wait(node.io.waitScope);
    REQUIRE_FALSE(during.ok());
    REQUIRE_FALSE(after.ok());
    CHECK(during.error().getType() == kj::Exception::Type::DISCONNECTED);
    CHECK(after.error().getType() == kj::Exception::Type::DISCONNECTED);
    CHECK(plainText(during.error()) ==
          "plugin 'test.misbehaves': it was stopped while it was asked for 'place'");
    CHECK(plainText(after.error()) ==
          "plugin 'test.misbehaves': it was stopped; it is not running right now");
  }
}

}  // namespace
}  // namespace orch
