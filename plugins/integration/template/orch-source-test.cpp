// Templates that follow the tasks of a cluster, without any consul.
#include "orch-source.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::integration::templates {
namespace {

constexpr const char* SELF = "n1";

// Offers tasks as a test says.
struct Offer {
  kj::Maybe<schema::TaskSink::Client> sink;
  kj::Own<kj::PromiseFulfiller<void>> ends;
};

class OfferServer final : public schema::TaskFeed::Server {
 public:
  explicit OfferServer(Offer& offer) : offer(offer) {}
  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    offer.sink = context.getParams().getSink();
    auto pair = kj::newPromiseAndFulfiller<void>();
    offer.ends = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }

 private:
  Offer& offer;
};

class NodesServer final : public schema::ClusterControl::Server {
 public:
  explicit NodesServer(std::vector<std::string>& nodes) : known(nodes) {}
  kj::Promise<void> nodes(NodesContext context) override {
    auto list = context.getResults().initNodes(known.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].initMeta().setId(known[i].c_str());
      list[i].initDescription().setHostname(kj::str("host-", known[i].c_str()));
      list[i].setAddress(kj::str("10.0.0.", i + 1, ":2377"));
    }
    return kj::READY_NOW;
  }

 private:
  std::vector<std::string>& known;
};

struct Bench {
  explicit Bench(OrchSettings settings = {true, true, 500})
      : host((kernel.setNodeId(SELF), kernel.client()), facts()),
        source(world.env(), host, settings) {
    kernel.addService("cluster-tasks", schema::TaskFeed::Client(kj::heap<OfferServer>(cluster)));
    kernel.addService("tasks", schema::TaskFeed::Client(kj::heap<OfferServer>(node)));
    kernel.addService("cluster", schema::ClusterControl::Client(kj::heap<NodesServer>(nodes)));
    source.answerFor(watches);
    user.emplace(watches);
  }
  ~Bench() noexcept(false) {
    user = nullptr;
    source.end();
  }
  static NodeFacts facts() {
    NodeFacts facts;
    facts.id = kj::str(SELF);
    facts.name = kj::str("host-n1");
    return facts;
  }
  static kj::Vector<Source*> sourcesOf(Source& source) {
    kj::Vector<Source*> all;
    all.add(&source);
    return all;
  }
  Watches::User& asking(const char* service) {
    Query query;
    query.name = service;
    query.states = {"passing"};
    auto& one = KJ_ASSERT_NONNULL(user);
    one.want({query});
    world.settle();
    return one;
  }
  struct Task {
    const char* id;
    const char* node;
    bool serving = true;
  };
  // One of `web`, at the port 8080 of its node.
  kj::Promise<uint32_t> tell(Offer& offer, std::vector<Task> tasks) {
    auto request = KJ_ASSERT_NONNULL(offer.sink).updateRequest();
    request.setComplete(true);
    auto list = request.initTasks(tasks.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setServing(tasks[i].serving);
      auto task = list[i].initTask();
      task.initMeta().setId(tasks[i].id);
      task.setServiceName("web");
      task.setSlot(i + 1);
      task.setNodeId(tasks[i].node);
      auto port = task.initPorts(1)[0];
      port.setTarget(80);
      port.setPublished(8080);
    }
    kj::Promise<uint32_t> told =
        request.send().then([](auto&& answer) { return answer.getNoticedMs(); });
    told = told.eagerlyEvaluate(nullptr);
    world.settle();
    return told;
  }
  // Ids and addresses of the one answer.
  std::string answer() {
    std::string all;
    auto answers = watches.answers();
    if (answers->empty()) return "none";
    for (auto& item : answers->begin()->second.items().items) {
      all += item.fields().find("NodeID")->text() + " " + item.fields().find("Address")->text();
      all += ";";
    }
    return all;
  }

  testing::VirtualWorld world{1};
  testing::TestHost kernel{"/data", "/run"};
  Offer cluster, node;
  std::vector<std::string> nodes{"n1", "n2"};
  Host host;
  OrchSource source;
  Watches watches{sourcesOf(source)};
  kj::Maybe<Watches::User> user;
};

TEST_CASE("template: orch's tasks are asked for when a template does", "[template]") {
  Bench bench;
  bench.world.settle();
  CHECK(bench.cluster.sink == nullptr);
  bench.asking("web");
  CHECK(bench.answer() == "none");
  bench.tell(bench.cluster, {{"a", "n1"}, {"b", "n2"}});
  CHECK(bench.answer() == "n1 10.0.0.1;n2 10.0.0.2;");
}

TEST_CASE("template: a task is let go when all has been made of its end", "[template]") {
  Bench bench;
  auto& user = bench.asking("web");
  auto told = bench.tell(bench.cluster, {{"a", "n1"}, {"b", "n2"}});
  CHECK_FALSE(told.poll(bench.world.waitScope()));
  user.settled(user.changes());
  CHECK(told.wait(bench.world.waitScope()) == 500);
  told = bench.tell(bench.cluster, {{"a", "n1"}, {"b", "n2", false}});
  CHECK(bench.answer() == "n1 10.0.0.1;");
  CHECK_FALSE(told.poll(bench.world.waitScope()));
  user.settled(user.changes());
  told.wait(bench.world.waitScope());
  // Nothing is new, and then nobody asks.
  CHECK(bench.tell(bench.cluster, {{"a", "n1"}}).wait(bench.world.waitScope()) == 500);
  user.want({});
  CHECK(bench.tell(bench.cluster, {}).wait(bench.world.waitScope()) == 0);
}

TEST_CASE("template: a node that has just joined is asked for", "[template]") {
  Bench bench;
  auto& user = bench.asking("web");
  bench.tell(bench.cluster, {{"a", "n1"}});
  user.settled(user.changes());
  bench.nodes.push_back("n3");
  bench.tell(bench.cluster, {{"a", "n1"}, {"c", "n3"}});
  CHECK(bench.answer() == "n1 10.0.0.1;n3 10.0.0.3;");
}

TEST_CASE("template: of one node, or when nobody says what runs", "[template]") {
  Bench bench({true, false, 0});
  auto& user = bench.asking("web");
  CHECK((bench.cluster.sink == nullptr && bench.node.sink != nullptr));
  bench.world.advance(10 * kj::SECONDS);
  CHECK(user.problem() ==
        "service 'web': nobody has said yet what runs; does control.agent run? 'orch plugin ls'");
  bench.tell(bench.node, {{"a", "n1"}});
  CHECK(bench.answer() == "n1 127.0.0.1;");
  CHECK(user.problem().empty());
  bench.node.ends->reject(KJ_EXCEPTION(FAILED, "it is gone"));
  bench.world.settle();
  CHECK(bench.answer() == "n1 127.0.0.1;");
  CHECK(user.problem() == "service 'web': it is gone");
}

}  // namespace
}  // namespace orch::integration::templates
