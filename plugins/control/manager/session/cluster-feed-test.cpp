// The tasks of a cluster, as a manager tells plugins of them that lead others there; and that a
// task ends when they have taken it out.
#include "session/cluster-feed.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

// What a watcher has been told. Answers at once, or when it is let go on.
struct Told {
  std::map<std::string, bool> serving;        // by task
  std::map<std::string, std::string> places;  // `web.1 on node1`
  uint32_t wholes = 0;
  bool slow = false;
  uint32_t noticedMs = 0;
  std::string image;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> asked;

  void goOn() {
    slow = false;
    for (auto& one : asked) one->fulfill();
    asked.clear();
  }
  size_t served() const {
    size_t count = 0;
    for (auto& entry : serving) count += entry.second;
    return count;
  }
};

class ToldSink final : public schema::TaskSink::Server {
 public:
  explicit ToldSink(Told& told) : told(told) {}
  kj::Promise<void> update(UpdateContext context) override {
    auto params = context.getParams();
    if (params.getComplete()) {
      ++told.wholes;
      told.serving.clear();
    }
    for (auto entry : params.getTasks()) {
      auto task = entry.getTask();
      std::string id = task.getMeta().getId().cStr();
      told.serving[id] = entry.getServing();
      told.places[id] =
          kj::str(task.getServiceName(), ".", task.getSlot(), " on ", task.getNodeId()).cStr();
      told.image += task.getSpec().getContainer().getImage().cStr();
    }
    for (auto id : params.getGone()) told.serving.erase(id.cStr());
    context.getResults().setNoticedMs(told.noticedMs);
    if (!told.slow) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    told.asked.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  Told& told;
};

struct Watched : FourOnTwo {
  Watched() { watch = begin(told); }
  kj::Promise<void> begin(Told& who) {
    auto request = cluster.tasksFeed.watchRequest();
    request.setSink(kj::heap<ToldSink>(who));
    auto begun = request.send().ignoreResult().eagerlyEvaluate(nullptr);
    cluster.settle();
    return begun;
  }
  uint32_t running() const { return one.running() + two.running(); }
  Told told;
  kj::Promise<void> watch = nullptr;
};

TEST_CASE("cluster feed: all tasks that run on any node, and then what changes", "[manager]") {
  Watched bench;
  CHECK((bench.told.wholes == 1 && bench.told.served() == 4));
  CHECK(bench.told.places.begin()->second.starts_with("web."));
  CHECK(bench.told.image == "");  // nothing of what is in a container
  bench.cluster.create({"more", 2});
  bench.cluster.settle();
  CHECK(bench.told.served() == 6);
  bench.two.cut();
  bench.two.beats = false;
  bench.cluster.advance(10 * kj::SECONDS);
  // Those of the node that is down are told to serve no more, and others run in their place.
  CHECK(bench.told.served() == 6);
  CHECK(bench.told.serving.size() > 6);
  CHECK(bench.told.wholes == 1);
}

TEST_CASE("cluster feed: a task ends when all who watch have taken it out", "[manager]") {
  Watched bench;
  Told other;
  auto second = bench.begin(other);
  bench.told.slow = true;
  auto scaled = bench.cluster.scaleAsync("web", 1).eagerlyEvaluate(nullptr);
  bench.cluster.settle();
  CHECK((bench.told.served() == 1 && other.served() == 1));
  CHECK(bench.running() == 4);
  bench.told.goOn();
  bench.cluster.settle();
  CHECK(bench.running() == 1);
  CHECK(bench.told.serving.size() == 1);
}

TEST_CASE("cluster feed: who follows a watcher has the time that it asks for", "[manager]") {
  Watched bench;
  bench.told.noticedMs = 500;
  auto scaled = bench.cluster.scaleAsync("web", 2).eagerlyEvaluate(nullptr);
  bench.cluster.settle();
  bench.cluster.advance(499 * kj::MILLISECONDS);
  CHECK(bench.running() == 4);
  bench.cluster.advance(1 * kj::MILLISECONDS);
  CHECK(bench.running() == 2);
}

TEST_CASE("cluster feed: nobody waits for a watcher that is gone, or that takes too long",
          "[manager]") {
  Watched bench;
  bench.told.slow = true;
  auto scaled = bench.cluster.scaleAsync("web", 3).eagerlyEvaluate(nullptr);
  bench.cluster.settle();
  CHECK(bench.running() == 4);
  bench.cluster.advance(ClusterFeed::WATCHERS_LIMIT);
  CHECK(bench.running() == 3);
  scaled = bench.cluster.scaleAsync("web", 2).eagerlyEvaluate(nullptr);
  bench.cluster.settle();
  CHECK(bench.running() == 3);
  bench.watch = nullptr;
  bench.cluster.settle();
  CHECK(bench.running() == 2);
}

TEST_CASE("cluster feed: a watch ends with the manager, and the next one is told all",
          "[manager]") {
  Watched bench;
  bench.cluster.stop();
  auto ended = attempt(kj::mv(bench.watch)).wait(bench.cluster.world.waitScope());
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().getType() == kj::Exception::Type::DISCONNECTED);
  bench.cluster.start();
  auto again = bench.begin(bench.told);
  CHECK((bench.told.wholes == 2 && bench.told.serving.size() == 4));
}

}  // namespace
}  // namespace orch::control::manager
