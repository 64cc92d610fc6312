// Tasks, sessions and reports, over models of the node's other plugins.
#include <catch2/catch.hpp>

#include <algorithm>

#include "test-node.h"

namespace orch::control::agent {
namespace {

using schema::TaskState;

TEST_CASE("agent: runs a task and stops it", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.complete = true, .tasks = {{"t1"}}}) == "");
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.runtime.running() == 1);
  REQUIRE(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}}) == "");
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
  CHECK(node.runtime.containers.size() == 1);  // its log is kept
  REQUIRE(node.assign({.gone = {"t1"}}) == "");
  CHECK(node.runtime.containers.empty());
  CHECK(node.stored().empty());
}

// Found by the simulation: who is asked to end was started first.
TEST_CASE("agent: a task that only waits at ready is not started to be ended", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1", TaskState::READY}, {"t2", TaskState::READY}}}) == "");
  node.advance(1 * kj::SECONDS);
  REQUIRE(node.reported("t1") == TaskState::READY);
  REQUIRE(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}, .gone = {"t2"}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
  CHECK(node.runtime.everStarted.empty());
}

TEST_CASE("agent: a running task is adopted, one that ended meanwhile is reported", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"lives"}, {"ended"}, {"lost"}}}) == "");
  node.crash();
  node.runtime.exit("ended", 4);
  node.runtime.containers.erase("lost");
  node.manager.tasks.clear();
  node.start();
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("lives") == TaskState::RUNNING);
  CHECK(node.reported("ended") == TaskState::FAILED);
  CHECK(node.manager.tasks["ended"].error == "task: non-zero exit (4)");
  CHECK_FALSE(node.manager.tasks["ended"].lost);
  CHECK(node.reported("lost") == TaskState::FAILED);
  CHECK(node.manager.tasks["lost"].lost);
  for (auto& [id, starts] : node.runtime.everStarted) CHECK(starts == 1);
}

TEST_CASE("agent: a task that only the manager remembers is lost, and not run again", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "t1", .known = TaskState::READY}}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::FAILED);
  CHECK(node.manager.tasks["t1"].lost);
  CHECK(node.runtime.everStarted.empty());
}

TEST_CASE("agent: a container that no durable task stands for is removed", "[agent]") {
  TestAgent node;
  node.runtime.containers["stranger"].starts = 1;
  node.start();
  CHECK(node.runtime.containers.empty());
}

Task<void> turnsOfTheLoop(uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) co_await kj::evalLater([] {});
}

// Whether the user's program runs more often than it may, whichever moment the crash chooses.
TEST_CASE("agent: no task runs twice, whenever orchd is killed", "[agent]") {
  auto seed = testing::testSeed();
  for (uint32_t turns = 1; turns <= 120; ++turns) {
    CAPTURE(turns);
    TestAgent node(1 + turns % 7, seed + turns);
    node.start();
    {
      auto answer = node.assigning({.tasks = {{"t1"}, {"t2"}, {"t3", TaskState::READY}}}).promise();
      turnsOfTheLoop(turns).wait(node.world.waitScope());
      node.crash();
    }
    node.start();
    REQUIRE(node.assign({.complete = true, .tasks = {{"t1"}, {"t2"}, {"t3"}}}) == "");
    node.advance(10 * kj::SECONDS);
    for (auto id : {"t1", "t2", "t3"}) {
      CAPTURE(id);
      CHECK(node.runtime.everStarted[id] <= 1);
      bool runs = node.runtime.containers[id].starts > 0 && !node.runtime.containers[id].exited;
      CHECK(runs == (node.reported(id) == TaskState::RUNNING));
    }
  }
}

TEST_CASE("agent: a runtime that hangs holds up its tasks and nothing else", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.runtime.hang();
  CHECK(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}, {"t2"}}}) == "");
  node.advance(60 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.reported("t2") < TaskState::READY);
  CHECK(node.manager.lags.size() > 50);  // it is still heard of
  CHECK(node.assign({.tasks = {{"t2", TaskState::SHUTDOWN}}}) == "");
  node.runtime.resume();
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
  CHECK(node.reported("t2") == TaskState::SHUTDOWN);
  CHECK(node.runtime.everStarted.count("t2") == 0);
}

TEST_CASE("agent: nothing is said of a task whose runtime has gone, until it is back", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
  node.runtime.die();
  node.advance(30 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.manager.tasks["t1"].error != "");
  node.runtime.exit("t2", 0);
  node.runtime.dead = false;
  node.advance(30 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.manager.tasks["t1"].error == "");
  CHECK(node.reported("t2") == TaskState::COMPLETE);
  CHECK(node.runtime.everStarted["t1"] == 1);
}

TEST_CASE("agent: reports go in batches, and all arrive", "[agent]") {
  constexpr size_t COUNT = 600;
  TestAgent node;
  node.start();
  TestAgent::Order order;
  for (size_t i = 0; i < COUNT; ++i) order.tasks.push_back({"t" + std::to_string(i)});
  REQUIRE(node.assign(order) == "");
  CHECK(node.runtime.running() == COUNT);
  for (auto& task : order.tasks) REQUIRE(node.reported(task.id) == TaskState::RUNNING);
  auto& sizes = node.manager.reportSizes;
  CHECK(*std::max_element(sizes.begin(), sizes.end()) <= 256);
  sizes.clear();
  node.manager.leave();
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  CHECK(sizes == std::vector<size_t>{256, 256, 88});  // to a new manager, all of it
}

TEST_CASE("agent: what the manager has not heard is said again", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.manager.tasks.clear();
  REQUIRE(node.assign({.tasks = {{"t1", TaskState::RUNNING, TaskState::ASSIGNED}}}) == "");
  CHECK(node.reported("t1") == TaskState::RUNNING);
}

TEST_CASE("agent: without a manager its tasks go on, and it finds the next one", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
  node.manager.leave();
  node.runtime.exit("t2", 9);
  node.advance(60 * kj::SECONDS);
  CHECK(node.runtime.running() == 2);  // alone-test.cpp
  CHECK(node.reported("t2") == TaskState::RUNNING);
  node.manager.comeBack();
  node.advance(2 * kj::SECONDS);
  CHECK(node.manager.sessions == 2);
  CHECK(node.reported("t2") == TaskState::FAILED);
}

TEST_CASE("agent: a manager that has let go of it is left before the next beat", "[agent]") {
  TestAgent node;
  node.manager.nextMs = 10'000;
  node.start();
  node.advance(1 * kj::SECONDS);
  REQUIRE(node.manager.sessions == 1);
  node.manager.agent = nullptr;
  node.advance(100 * kj::MILLISECONDS);
  CHECK(node.manager.sessions == 2);
}

TEST_CASE("agent: a task of several networks is refused, not run on the first of them", "[agent]") {
  TestAgent node;
  node.start();
  TestAgent::Wanted wanted{"t1"};
  wanted.networks = {"bridge", "back"};
  REQUIRE(node.assign({.tasks = {wanted}}) == "");
  CHECK(node.reported("t1") == TaskState::REJECTED);
  CHECK(node.manager.tasks["t1"].error ==
        "cannot run it on the networks 'bridge', 'back': a task has one network so far; name one "
        "of them");
  CHECK(node.network.attached.empty());
}

TEST_CASE("agent: each network lets go of what no task has any more, whatever its name is",
          "[agent]") {
  TestAgent node;
  FakeNetwork lab, late;
  node.host.addService("network.bridge#lab", lab.client());
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "t1", .networks = {"bridge#lab"}}}}) == "");
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(lab.attached.count("t1") == 1);
  node.start();
  CHECK(node.network.retained == std::vector<std::vector<std::string>>{{}, {"t1"}});
  CHECK(lab.retained == node.network.retained);
  node.host.addService("network.bridge#late", late.client());
  node.host.emit("plugin.started").wait(node.world.waitScope());
  node.advance(1 * kj::SECONDS);
  CHECK(late.retained == std::vector<std::vector<std::string>>{{"t1"}});
  CHECK(node.manager.networks.count("bridge#late") == 1);
}

TEST_CASE("agent: a plugin that starts while the first session is opened is told of", "[agent]") {
  TestAgent node;
  FakeNetwork late;
  auto opened = kj::newPromiseAndFulfiller<void>();
  node.manager.opening = kj::mv(opened.promise);
  node.start();
  REQUIRE(node.manager.networks.count("bridge") == 1);
  node.host.addService("network.bridge#late", late.client());
  node.host.emit("plugin.started").wait(node.world.waitScope());
  opened.fulfiller->fulfill();
  node.advance(1 * kj::SECONDS);
  CHECK(node.manager.networks.count("bridge#late") == 1);
}

TEST_CASE("agent: of a task that has ended no network keeps anything, even one that starts later",
          "[agent]") {
  TestAgent node;
  FakeNetwork late;
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "ended", .networks = {"bridge"}},
                                 {.id = "lives", .networks = {"bridge"}}}}) == "");
  node.crash();
  node.runtime.exit("ended", 0);
  node.start();
  node.advance(1 * kj::SECONDS);
  REQUIRE(node.stored().at("ended").state == TaskState::COMPLETE);
  node.host.addService("network.bridge#late", late.client());
  node.host.emit("plugin.started").wait(node.world.waitScope());
  node.advance(1 * kj::SECONDS);
  CHECK(late.retained == std::vector<std::vector<std::string>>{{"lives"}});
  node.start();
  CHECK(node.network.retained.back() == std::vector<std::string>{"lives"});
}

TEST_CASE("agent: nothing is attached to a network that has not let go of leftovers", "[agent]") {
  TestAgent node;
  node.network.dead = true;
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "t1", .networks = {"bridge"}}, {"t2"}}}) == "");
  node.advance(60 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::PREPARING);
  CHECK(node.reported("t2") == TaskState::RUNNING);
  node.network.dead = false;
  node.advance(20 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.network.retained.size() == 1);
}

TEST_CASE("agent: it starts, and finds its manager, while a runtime hangs", "[agent]") {
  TestAgent node;
  node.runtime.containers["stranger"].starts = 1;
  node.runtime.hang();
  node.start();
  CHECK(node.manager.sessions == 1);
  CHECK(node.assign({.tasks = {{"t1"}}}) == "");
  CHECK(node.reported("t1") == TaskState::PREPARING);
  node.runtime.resume();
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.runtime.containers.count("stranger") == 0);
}

TEST_CASE("agent: what it cannot take is refused by its kind's name, the rest is done", "[agent]") {
  TestAgent node;
  node.start();
  auto request = KJ_ASSERT_NONNULL(node.manager.agent).assignRequest();
  auto list = request.initAssignments(3);
  list[0].initSecret();
  auto task = list[1].initTask();
  task.initMeta().setId("t1");
  task.setDesired(TaskState::RUNNING);
  task.initSpec().initNetworks(1)[0].setName("none");
  list[2].initVolume();
  auto gone = request.initGone(1)[0];
  gone.setKind(schema::AssignedKind::VOLUME);
  gone.setId("t1");
  auto answer = request.send().wait(node.world.waitScope());
  REQUIRE(answer.getRefused().size() == 2);
  CHECK(answer.getRefused()[0].getIndex() == 0);
  CHECK(answer.getRefused()[0].getReason() ==
        "this node's agent (version 9.9) cannot take a secret yet; upgrade orchd on the node");
  CHECK(answer.getRefused()[1].getIndex() == 2);
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
}

TEST_CASE("agent: a heartbeat tells how long the loop stood still", "[agent]") {
  TestAgent node;
  node.start();
  node.advance(10 * kj::SECONDS);
  auto& lags = node.manager.lags;
  CHECK(lags.size() == 11);
  CHECK(std::all_of(lags.begin(), lags.end(), [](auto lag) { return lag == 0; }));
  node.world.standStill(12 * kj::SECONDS);
  node.advance(1 * kj::SECONDS);
  CHECK(*std::max_element(lags.begin(), lags.end()) >= 11'000);
  CHECK(lags.back() == 0);
}

TEST_CASE("agent: a manager that does not answer beats is left for another", "[agent]") {
  TestAgent node;
  node.start();
  node.manager.silent = true;
  node.advance(3 * kj::SECONDS);
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.manager.silent = false;
  node.advance(30 * kj::SECONDS);
  CHECK(node.manager.sessions == 2);
  CHECK(node.reported("t1") == TaskState::RUNNING);
}

TEST_CASE("images: managers are told what there is for other nodes, whenever it changes",
          "[agent]") {
  using Offered = std::map<std::string, std::vector<std::string>>;
  TestAgent agent;
  agent.images.images["sha256:1"] = {100, {"web:1", "web:latest", "old:1"}, {"old:1"}};
  agent.images.images["sha256:2"] = {0, {"pulled:1"}, {"pulled:1"}};
  agent.start();
  CHECK(agent.manager.offered == Offered{{"sha256:1", {"web:1", "web:latest"}}});
  auto changed = [&] {
    agent.host.emit("image.imported").wait(agent.world.waitScope());
    agent.world.settle();
  };
  agent.images.images["sha256:3"] = {100, {"web@sha256:3"}, {"web@sha256:3"}};
  changed();
  CHECK(agent.manager.offered == Offered{{"sha256:1", {"web:1", "web:latest"}}, {"sha256:3", {}}});
  // A plugin between two lives is asked again.
  agent.images.dead = true;
  agent.images.images.clear();
  changed();
  CHECK(agent.manager.offered.size() == 2);
  agent.images.dead = false;
  agent.advance(11 * kj::SECONDS);
  CHECK(agent.manager.offered.empty());
  // In each session, and not again while nothing happens.
  agent.images.images["sha256:1"] = {100, {}, {}};
  agent.start();
  auto offers = agent.manager.offers;
  CHECK(agent.manager.offered.size() == 1);
  agent.advance(60 * kj::SECONDS);
  CHECK(agent.manager.offers == offers);
}

TEST_CASE("images: the cluster's limit of them is kept here, and what its services need stays",
          "[agent]") {
  TestAgent agent;
  agent.start();
  agent.advance(3 * kj::HOURS);
  CHECK(agent.images.limits.empty());
  agent.manager.imageLimit = 5000;
  agent.advance(10 * kj::MINUTES);
  CHECK(agent.images.limits == std::vector<std::string>{"5000 app:1 3600000"});
  // A plugin between two lives is asked again, and so is another manager.
  agent.images.dead = true;
  agent.advance(10 * kj::MINUTES);
  agent.images.dead = false;
  agent.advance(10 * kj::MINUTES);
  CHECK(agent.images.limits.size() == 2);
  agent.manager.leave();
  agent.advance(1 * kj::HOURS);
  CHECK(agent.images.limits.size() == 2);
  agent.manager.comeBack();
  agent.advance(12 * kj::MINUTES);
  CHECK(agent.images.limits.size() == 3);
}

TEST_CASE("images: what is read for other nodes is the image plugin's", "[agent]") {
  TestAgent agent;
  agent.start();
  auto request = KJ_ASSERT_NONNULL(agent.manager.agent).readBlobRequest();
  request.setImage("sha256:1");
  request.setBlob("sha256:2");
  request.setOffset(3);
  request.setMaxBytes(4);
  auto part = request.send().wait(agent.world.waitScope());
  CHECK(part.getTotalBytes() == 4);
  CHECK(part.getData() == "sha256:1 sha256:2 3"_kj.asBytes());
}

TEST_CASE("images: a login is used once, and not written down", "[agent]") {
  TestAgent agent;
  agent.runtime.usesImages = true;
  agent.start();
  CHECK(agent.assign({.complete = true,
                      .tasks = {{.id = "one", .password = "sesame-4711"}, {.id = "two"}}}) == "");
  CHECK(agent.images.ensured == std::vector<std::string>{"app:1 sesame-4711", "app:1 "});
  auto kept = agent.storedBytes();
  CHECK(kept.find("app:1") != std::string::npos);
  CHECK(kept.find("sesame") == std::string::npos);
}

// Killed while it pulls the image of task "one", which needs a login.
void killDuringPull(TestAgent& agent) {
  agent.runtime.usesImages = true;
  agent.images.password = "sesame";
  agent.images.slow = true;
  agent.start();
  REQUIRE(agent.assign({.tasks = {{.id = "one", .password = "sesame"}}}) == "");
  REQUIRE(agent.images.ensured.size() == 1);
  agent.crash();
  agent.images.slow = false;
}

TEST_CASE("images: a pull that was cut off by a crash has its login again", "[agent]") {
  TestAgent agent;
  killDuringPull(agent);
  auto opened = kj::newPromiseAndFulfiller<void>();
  agent.manager.opening = kj::mv(opened.promise);
  agent.start();
  agent.advance(1 * kj::SECONDS);
  CHECK(agent.images.ensured == std::vector<std::string>{"app:1 sesame", "app:1 "});
  CHECK(agent.reported("one") <= TaskState::PREPARING);
  opened.fulfiller->fulfill();
  agent.world.settle();
  REQUIRE(agent.assign({.complete = true, .tasks = {{.id = "one", .password = "sesame"}}}) == "");
  CHECK(agent.reported("one") == TaskState::RUNNING);
  CHECK(agent.images.ensured.back() == "app:1 sesame");
}

TEST_CASE("images: a login that does not come again is not waited for", "[agent]") {
  TestAgent agent;
  killDuringPull(agent);
  SECTION("the manager has none") {
    agent.start();
    REQUIRE(agent.assign({.complete = true, .tasks = {{.id = "one"}}}) == "");
    CHECK(agent.manager.tasks["one"].error == "unauthorized");
  }
  SECTION("no manager is there") {
    agent.manager.leave();
    agent.start();
    agent.advance(10 * kj::SECONDS);
    CHECK(agent.stored()["one"].state == TaskState::REJECTED);
  }
  SECTION("the task is not wanted any more") {
    agent.start();
    REQUIRE(agent.assign({.complete = true}) == "");
    CHECK(agent.stored().empty());
  }
}

}  // namespace
}  // namespace orch::control::agent
