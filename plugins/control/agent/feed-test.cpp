// What other plugins of the host are told of its tasks, and that a stop waits for them.
#include <catch2/catch.hpp>

#include <map>

#include "test-node.h"

namespace orch::control::agent {
namespace {

using schema::TaskState;

// What a watcher has been told. Answers at once, or when it is let go on.
struct FedTasks {
  struct Seen {
    TaskState state = TaskState::NEW;
    bool serving = false;
    std::string address;
    std::vector<std::string> env;
  };
  std::map<std::string, Seen> tasks;
  uint32_t calls = 0;
  uint32_t wholes = 0;
  bool slow = false;
  uint32_t noticedMs = 0;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> asked;
  void goOn() {
    for (auto& one : asked) one->fulfill();
    asked.clear();
  }
};

class FedSink final : public schema::TaskSink::Server {
 public:
  explicit FedSink(FedTasks& seen) : seen(seen) {}
  kj::Promise<void> update(UpdateContext context) override {
    auto params = context.getParams();
    ++seen.calls;
    if (params.getComplete()) {
      ++seen.wholes;
      seen.tasks.clear();
    }
    for (auto entry : params.getTasks()) {
      auto task = entry.getTask();
      auto& one = seen.tasks[task.getMeta().getId().cStr()];
      one.state = task.getStatus().getState();
      one.serving = entry.getServing();
      auto addresses = task.getStatus().getAddresses();
      one.address = addresses.size() > 0 ? addresses[0].cStr() : "";
      one.env.clear();
      for (auto line : task.getSpec().getContainer().getEnv()) one.env.push_back(line.cStr());
    }
    for (auto id : params.getGone()) seen.tasks.erase(id.cStr());
    context.getResults().setNoticedMs(seen.noticedMs);
    if (!seen.slow) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    seen.asked.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  FedTasks& seen;
};

kj::Promise<void> watching(TestAgent& node, FedTasks& seen) {
  auto request = node.feed().watchRequest();
  request.setSink(kj::heap<FedSink>(seen));
  auto watch = request.send().ignoreResult().eagerlyEvaluate(nullptr);
  node.world.settle();
  return watch;
}

// Says whether new connections are led to tasks.
struct LedPorts final : public schema::PortPublisher::Server {
  explicit LedPorts(bool& leads) : leads(leads) {}
  kj::Promise<void> publish(PublishContext) override { return kj::READY_NOW; }
  kj::Promise<void> withdraw(WithdrawContext) override { return kj::READY_NOW; }
  kj::Promise<void> retain(RetainContext) override { return kj::READY_NOW; }
  kj::Promise<void> activate(ActivateContext) override {
    leads = true;
    return kj::READY_NOW;
  }
  kj::Promise<void> deactivate(DeactivateContext) override {
    leads = false;
    return kj::READY_NOW;
  }
  bool& leads;
};

TestAgent::Wanted publishedTask(const char* id) {
  TestAgent::Wanted wanted;
  wanted.id = id;
  wanted.networks = {"bridge"};
  wanted.more = [](schema::Task::Builder task) { task.initPorts(1)[0].setTarget(80); };
  return wanted;
}

}  // namespace

TEST_CASE("feed: who watches is told of all tasks, and then of what changes", "[agent]") {
  FedTasks seen;
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "t1"}}}) == "");
  auto watch = watching(node, seen);
  CHECK(seen.wholes == 1);
  REQUIRE(seen.tasks.count("t1") == 1);
  CHECK(seen.tasks["t1"].state == TaskState::RUNNING);
  CHECK(seen.tasks["t1"].serving);
  REQUIRE(node.assign({.tasks = {{.id = "t2", .more = [](schema::Task::Builder task) {
                                    auto env = task.getSpec().getContainer().initEnv(1);
                                    env.set(0, "AT={{.Service.Name}}-{{.Node.Hostname}}");
                                  }}}}) == "");
  CHECK(seen.tasks["t2"].serving);
  CHECK(seen.tasks["t2"].env == std::vector<std::string>{"AT=web-node-1"});
  node.runtime.exit("t2", 3);
  node.world.settle();
  CHECK(seen.tasks["t2"].state == TaskState::FAILED);
  CHECK_FALSE(seen.tasks["t2"].serving);
  REQUIRE(node.assign({.gone = {"t2"}}) == "");
  CHECK(seen.tasks.count("t2") == 0);
  CHECK(seen.tasks.count("t1") == 1);
  CHECK(seen.wholes == 1);
}

TEST_CASE("feed: a watch ends with the agent, and the next one tells of the tasks that run on",
          "[agent]") {
  FedTasks seen;
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "t1"}}}) == "");
  auto watch = watching(node, seen);
  node.crash();
  auto ended = attempt(kj::mv(watch)).wait(node.world.waitScope());
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().getType() == kj::Exception::Type::DISCONNECTED);
  node.start();
  auto again = watching(node, seen);
  CHECK(seen.wholes == 2);
  CHECK(seen.tasks["t1"].serving);
}

TEST_CASE("feed: a task is drained and stopped when all who watch have answered", "[agent]") {
  FedTasks seen, other;
  bool leads = false;
  TestAgent node;
  schema::PortPublisher::Client ports = kj::heap<LedPorts>(leads);
  node.host.addService("network.ingress", ports);
  node.start();
  REQUIRE(node.assign({.tasks = {publishedTask("t1")}}) == "");
  auto watch = watching(node, seen);
  auto second = watching(node, other);
  REQUIRE(seen.tasks["t1"].serving);
  CHECK(seen.tasks["t1"].address != "");
  seen.slow = true;
  auto stopped = publishedTask("t1");
  stopped.desired = TaskState::SHUTDOWN;
  REQUIRE(node.assign({.tasks = {stopped}}) == "");
  CHECK_FALSE(seen.tasks["t1"].serving);
  CHECK(seen.tasks["t1"].state == TaskState::RUNNING);
  CHECK_FALSE(other.tasks["t1"].serving);
  CHECK(leads);
  CHECK(node.network.drained.empty());
  seen.slow = false;
  seen.goOn();
  node.world.settle();
  CHECK_FALSE(leads);
  CHECK(node.network.drained.size() == 1);
  CHECK(node.runtime.running() == 0);
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
}

TEST_CASE("feed: who follows a watcher has the time that it asks for, within the limit",
          "[agent]") {
  FedTasks seen, other;
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "t1"}, {.id = "t2"}}}) == "");
  seen.noticedMs = 500;
  auto watch = watching(node, seen);
  auto second = watching(node, other);
  REQUIRE(node.assign({.tasks = {{.id = "t1", .desired = TaskState::SHUTDOWN}}}) == "");
  CHECK_FALSE(seen.tasks["t1"].serving);
  node.advance(499 * kj::MILLISECONDS);
  CHECK(node.runtime.running() == 2);
  node.advance(1 * kj::MILLISECONDS);
  CHECK(node.runtime.running() == 1);
  seen.noticedMs = 60'000;
  REQUIRE(node.assign({.tasks = {{.id = "t2", .desired = TaskState::SHUTDOWN}}}) == "");
  node.advance(4999 * kj::MILLISECONDS);
  CHECK(node.runtime.running() == 1);
  node.advance(1 * kj::MILLISECONDS);
  CHECK(node.runtime.running() == 0);
}

TEST_CASE("feed: nobody waits for a watcher that has gone, or that takes too long", "[agent]") {
  FedTasks seen;
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{.id = "t1"}, {.id = "t2"}}}) == "");
  auto watch = watching(node, seen);
  seen.slow = true;
  REQUIRE(node.assign({.tasks = {{.id = "t1", .desired = TaskState::SHUTDOWN}}}) == "");
  CHECK(node.runtime.running() == 2);
  node.advance(5 * kj::SECONDS);
  CHECK(node.runtime.running() == 1);
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
  REQUIRE(node.assign({.tasks = {{.id = "t2", .desired = TaskState::SHUTDOWN}}}) == "");
  CHECK(node.runtime.running() == 1);
  watch = nullptr;
  node.world.settle();
  CHECK(node.runtime.running() == 0);
}

}  // namespace orch::control::agent
