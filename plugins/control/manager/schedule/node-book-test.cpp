// What scheduling keeps of the nodes: the same as looking at all of them, for less. Work is
// counted.
#include "schedule/node-book.h"

#include <catch2/catch.hpp>

#include <random>

#include "decide/bench.h"

namespace orch::control::manager {
namespace {

using Availability = schema::Node::Availability;

struct BookBench : Bench {
  NodeBook book;

  void label(const std::string& node, const char* value) {
    change([&](View& view) { labelIn(view, node, value); });
  }
  static void labelIn(View& view, const std::string& node, const char* value) {
    view.edit<schema::Node>(Kind::NODE, node, [&](schema::Node::Builder changed) {
      auto label = changed.initLabels(1)[0];
      label.setKey("zone");
      label.setValue(value);
    });
  }
  schema::Service::Reader service(const char* constraint, uint64_t memory = 0, uint32_t most = 0) {
    std::string id;
    change([&](View& view) {
      id = view.create<schema::Service>(Kind::SERVICE, [&](schema::Service::Builder made) {
        auto spec = made.initSpec();
        spec.setName(constraint);
        spec.getMode().initReplicated().setReplicas(1);
        auto task = spec.initTask();
        task.initContainer().setImage("web");
        task.initPlacement().initConstraints(1).set(0, constraint);
        task.getPlacement().setMaxReplicasPerNode(most);
        task.initResources().setReserveMemoryBytes(memory);
        made.setSpecVersion(1);
      });
    });
    return state.find(Kind::SERVICE, id)->as<schema::Service>();
  }
  void addTask(View& view, schema::Service::Reader service, const std::string& node) {
    auto id = createTask(view, service, {{++slots, {}}});
    auto task = KJ_ASSERT_NONNULL(view.task(id));
    view.editTask(task, [&](schema::Task::Builder made) { made.setNodeId(node.c_str()); });
  }
  NodeBook::Wanted wanted(schema::Service::Reader service) {
    return {manager::view(service.getMeta().getId()), service.getSpec().getTask(), {}};
  }
  const NodeBook::Set& find(const View& view, schema::Service::Reader service) {
    auto spec = service.getSpec().getTask();
    eachTerm(state.verdicts(), spec.getPlacement(), [](auto&) {});
    answerFilters();
    for (auto node : view.nodes()) unmetTerm(view, node, spec);
    answerFilters();
    book.catchUp(view);
    auto set = book.find(view, spec);
    while (set == nullptr) set = book.find(view, spec);
    return *set;
  }
  // Nodes that are judged for it now.
  uint64_t judged(schema::Service::Reader service) {
    auto before = book.judgements();
    View view(state, nowNs, Seed{1, 2, 3, 4});
    find(view, service);
    return book.judgements() - before;
  }
  // Looking at all nodes finds the same.
  void check(const View& view, schema::Service::Reader service) {
    auto& set = find(view, service);
    auto kept = book.explain(view, set, wanted(service));
    auto looked = candidatesFor(view, wanted(service).serviceId, wanted(service).spec, {});
    std::sort(kept.nodes.begin(), kept.nodes.end());
    std::sort(looked.nodes.begin(), looked.nodes.end());
    CHECK(kept.nodes == looked.nodes);
    CHECK(kept.refused == looked.refused);
    CHECK(kept.unmet == looked.unmet);
  }

  uint32_t slots = 0;
};

std::string nodeName(uint32_t number) { return "node" + std::to_string(number); }

TEST_CASE("node book: at a thousand nodes what has not changed is not judged again", "[manager]") {
  constexpr uint32_t NODES = 1000;
  BookBench bench;
  for (uint32_t i = 0; i < NODES; ++i) bench.node(nodeName(i).c_str());
  auto web = bench.service("node.labels.zone!=b");
  auto other = bench.service("node.labels.zone==b");
  CHECK(bench.judged(web) == NODES);
  CHECK(bench.judged(web) == 0);
  CHECK(bench.judged(other) == NODES);

  bench.change([&](View& view) {
    for (uint32_t i = 0; i < 10; ++i) bench.addTask(view, web, nodeName(i));
  });
  CHECK(bench.judged(web) == 0);
  bench.label("node7", "b");
  CHECK(bench.judged(web) == 1);
  CHECK(bench.judged(other) == 1);
  bench.availability("node8", Availability::DRAIN);
  bench.heard("node9", Presence::MISSED);
  CHECK(bench.judged(web) == 2);
  CHECK(bench.judged(web) == 0);
}

TEST_CASE("node book: many nodes are judged some at a time", "[manager]") {
  BookBench bench;
  for (uint32_t i = 0; i < 2 * NodeBook::JUDGED_AT_ONCE + 1; ++i) bench.node(nodeName(i).c_str());
  auto web = bench.service("node.labels.zone!=b");
  View view(bench.state, NOW, Seed{1, 2, 3, 4});
  bench.book.catchUp(view);
  auto spec = web.getSpec().getTask();
  CHECK(bench.book.find(view, spec) == nullptr);
  CHECK(bench.book.judgements() == NodeBook::JUDGED_AT_ONCE);
  CHECK(bench.book.find(view, spec) == nullptr);
  CHECK(bench.book.find(view, spec) != nullptr);
}

TEST_CASE("node book: what a view had changed and was not committed is forgotten", "[manager]") {
  BookBench bench;
  for (uint32_t i = 0; i < 3; ++i) bench.node(nodeName(i).c_str());
  auto web = bench.service("node.labels.zone!=b", 5ull << 30);
  auto nodesIn = [&](const View& view) {
    auto& set = bench.find(view, web);
    return bench.book.explain(view, set, bench.wanted(web)).nodes;
  };
  {
    View view(bench.state, NOW, Seed{1, 2, 3, 4});
    CHECK(nodesIn(view).size() == 3);
    BookBench::labelIn(view, "node0", "b");
    bench.addTask(view, web, "node1");
    view.createAs<schema::Node>(Key{Kind::NODE, "new"}, [](schema::Node::Builder node) {
      node.initDescription().setMemoryBytes(8ull << 30);
    });
    view.assumeReady("new");
    CHECK(nodesIn(view) == std::vector<std::string>{"node2", "new"});
    bench.check(view, web);
  }
  View view(bench.state, NOW, Seed{1, 2, 3, 5});
  CHECK(nodesIn(view).size() == 3);
  bench.check(view, web);
}

TEST_CASE("node book: a number of a node that is gone is another's", "[manager]") {
  BookBench bench;
  for (uint32_t i = 0; i < 3; ++i) bench.node(nodeName(i).c_str());
  auto web = bench.service("node.id!=node1");
  auto number = bench.state.nodeNumbers().of("node1");
  View before(bench.state, NOW, Seed{1, 2, 3, 4});
  CHECK_FALSE(bench.find(before, web).has(number));
  bench.change([](View& view) { view.erase(Key{Kind::NODE, "node1"}); });
  CHECK(bench.state.nodeNumbers().of("node1") == NodeNumbers::NONE);
  bench.node("other");
  CHECK(bench.state.nodeNumbers().of("other") == number);
  View after(bench.state, NOW, Seed{1, 2, 3, 5});
  CHECK(bench.find(after, web).has(number));
  bench.check(after, web);
}

TEST_CASE("node book: parts of a preference change with the label, and with nothing else",
          "[manager]") {
  BookBench bench;
  for (uint32_t i = 0; i < 4; ++i) bench.node(nodeName(i).c_str());
  bench.label("node1", "b");
  auto divide = [&] {
    View view(bench.state, NOW, Seed{1, 2, 3, 4});
    bench.book.catchUp(view);
    return bench.book.divide(view, "node.labels.zone");
  };
  auto first = divide();
  CHECK(first.branches[0] == first.branches[2]);
  CHECK(first.branches[0] != first.branches[1]);
  bench.availability("node2", Availability::PAUSE);
  CHECK(divide().version == first.version);
  bench.label("node2", "b");
  CHECK(divide().version > first.version);
  CHECK(divide().branches[2] == first.branches[1]);
}

TEST_CASE("node book: whatever happens, it says what looking at all nodes would", "[manager]") {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::minstd_rand random(seed);
    auto upTo = [&](uint32_t count) { return static_cast<uint32_t>(random() % count); };
    BookBench bench;
    for (uint32_t i = 0; i < 8; ++i) bench.node(nodeName(i).c_str());
    std::vector<schema::Service::Reader> services = {
        bench.service("node.labels.zone==a", 1ull << 30), bench.service("node.labels.zone!=a"),
        bench.service("node.id!=node3", 3ull << 30, 2)};
    auto doOne = [&](View& view) {
      auto id = nodeName(upTo(8));
      if (view.node(id) == nullptr) return;
      switch (upTo(4)) {
        case 0:
          return BookBench::labelIn(view, id, upTo(2) == 0 ? "a" : "b");
        case 1:
          return view.edit<schema::Node>(Kind::NODE, id, [&](schema::Node::Builder node) {
            node.setAvailability(static_cast<Availability>(upTo(3)));
          });
        default:
          return bench.addTask(view, services[upTo(3)], id);
      }
    };
    for (int step = 0; step < 100; ++step) {
      auto id = nodeName(upTo(8));
      switch (upTo(6)) {
        case 0:
          bench.heard(id.c_str(), upTo(2) == 0 ? Presence::MISSED : Presence::HEARD);
          break;
        case 1:
          bench.change([&](View& view) {
            if (view.node(id) != nullptr) view.erase(Key{Kind::NODE, id});
          });
          break;
        case 2:
          bench.node(id.c_str());
          break;
        case 3: {
          View thrownAway(bench.state, NOW, Seed{1, 2, 3, 4});
          doOne(thrownAway);
          bench.check(thrownAway, services[upTo(3)]);
          break;
        }
        default:
          bench.change([&](View& view) {
            doOne(view);
            bench.check(view, services[upTo(3)]);
            doOne(view);
          });
      }
      View view(bench.state, NOW, Seed{1, 2, 3, 4});
      bench.check(view, services[upTo(3)]);
    }
  }
}

}  // namespace
}  // namespace orch::control::manager
