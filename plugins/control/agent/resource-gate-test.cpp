// No two containers have the same card at a time, whatever the manager thinks.
#include "resource-gate.h"

#include <catch2/catch.hpp>

#include "test-node.h"

namespace orch::control::agent {
namespace {

using schema::TaskState;

TestAgent::Wanted wantsCards(const char* id, std::vector<std::string> cards,
                             TaskState desired = TaskState::RUNNING) {
  return {.id = id, .desired = desired, .more = [cards](schema::Task::Builder task) {
            auto has = task.initGeneric(1)[0];
            has.setKind("gpu");
            has.setAmount(cards.size());
            auto names = has.initNames(cards.size());
            for (uint32_t i = 0; i < cards.size(); ++i) names.set(i, cards[i].c_str());
          }};
}

TEST_CASE("resources: a container waits for the one that has its card to end", "[agent]") {
  bool crashes = GENERATE(false, true);
  CAPTURE(crashes);
  TestAgent node;
  node.runtime.obeys = false;
  node.start();
  REQUIRE(node.assign({.tasks = {wantsCards("t1", {"A", "B"})}}) == "");
  CHECK(node.reported("t1") == TaskState::RUNNING);
  if (crashes) {
    node.crash();
    node.start();
  }
  auto asked = node.assign(
      {.tasks = {wantsCards("t1", {"A", "B"}, TaskState::SHUTDOWN), wantsCards("t2", {"B"}),
                 wantsCards("t3", {"C"}), wantsCards("t4", {"A"}, TaskState::READY)}});
  REQUIRE(asked == "");
  node.advance(2 * kj::SECONDS);
  CHECK(node.runtime.everStarted == std::map<std::string, uint32_t>{{"t1", 1}, {"t3", 1}});
  CHECK(node.manager.tasks["t2"].error ==
        "its slot, or what it has of the node's resources, another task has until it has ended");
  CHECK(node.manager.tasks["t4"].error == "");
  node.runtime.exit("t1", 143);
  node.advance(2 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
  CHECK(node.reported("t2") == TaskState::RUNNING);
  CHECK(node.manager.tasks["t2"].error == "");
  REQUIRE(node.assign({.tasks = {wantsCards("t4", {"A"})}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t4") == TaskState::RUNNING);
}

TEST_CASE("resources: who waits for a card can be stopped", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {wantsCards("t1", {"A"}), wantsCards("t2", {"A"})}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.runtime.running() == 1);
  REQUIRE(node.assign({.tasks = {wantsCards("t2", {"A"}, TaskState::SHUTDOWN)}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t2") == TaskState::SHUTDOWN);
  node.runtime.exit("t1", 0);
  node.advance(1 * kj::SECONDS);
  REQUIRE(node.assign({.tasks = {wantsCards("t3", {"A"})}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t3") == TaskState::RUNNING);
}

}  // namespace
}  // namespace orch::control::agent
