#include "state/state.h"

#include <catch2/catch.hpp>

#include <map>
#include <random>

#include "decide/bench.h"
#include "serve/progress.h"

namespace orch::control::manager {
namespace {

std::vector<TaskReader> tasksOf(const State& state) {
  std::vector<TaskReader> tasks;
  for (auto& entry : state.all(Kind::TASK)) tasks.emplace_back(entry.second);
  return tasks;
}

TEST_CASE("state: what tasks of one spec say alike is there once", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(50);
  bench.reconcile();
  bench.run("one");
  REQUIRE(tasksOf(bench.state).size() == 50);
  CHECK(bench.state.sharedWords().size() == 1);
  for (auto& task : tasksOf(bench.state)) {
    CHECK(task.getSpec().getContainer().getImage() == "web");
    CHECK(task.getServiceName() == "web");
    CHECK(view(task.getServiceId()) == bench.serviceId);
    CHECK_FALSE(task.record().hasSpec());
  }

  SECTION("each spec for itself, until its last task is gone") {
    bench.change([&](View& view) {
      view.editService(bench.serviceId, [](schema::Service::Builder service) {
        service.setSpecVersion(2);
        service.getSpec().getTask().getContainer().setImage("other");
        service.getSpec().getMode().getReplicated().setReplicas(51);
      });
    });
    bench.reconcile();
    CHECK(bench.state.sharedWords().size() == 2);
    bench.change([](View& view) {
      for (auto& task : tasksOf(view.base())) {
        if (task.getSpecVersion() == 1) view.erase({Kind::TASK, task.id()});
      }
    });
    CHECK(bench.state.sharedWords().size() == 1);
    for (auto& task : tasksOf(bench.state)) {
      CHECK(task.getSpec().getContainer().getImage() == "other");
    }
  }
  SECTION("nothing is left of it with the last one") {
    bench.change([](View& view) {
      for (auto& task : tasksOf(view.base())) view.erase({Kind::TASK, task.id()});
    });
    CHECK(bench.state.sharedWords().size() == 0);
  }
}

TEST_CASE("state: a changed task is written to the store as a whole", "[manager]") {
  Bench bench;
  bench.service(1);
  bench.reconcile();
  View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
  auto before = tasksOf(bench.state)[0];
  view.editTask(before, [](schema::Task::Builder task) { task.setNodeId("one"); });
  auto& words = view.changes().at({Kind::TASK, before.id()}).words;
  auto task = Snapshot{words.begin()}.as<schema::Task>();
  CHECK(task.getNodeId() == "one");
  CHECK(task.getSpec().getContainer().getImage() == "web");
  CHECK(task.getServiceName() == "web");
  CHECK(task.getServiceId() == before.getServiceId());
}

TEST_CASE("state: tasks of nodes that are away do not count as running", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.node("two");
  bench.service(2);
  bench.reconcile();
  bench.run("one");
  CHECK(runningTasks(bench.state, bench.serviceId) == 2);
  auto down = [&](const char* node, int64_t sinceNs) {
    bench.change([&](View& view) {
      view.edit<schema::Node>(Kind::NODE, node,
                              [&](schema::Node::Builder is) { is.setDownSinceNs(sinceNs); });
    });
  };
  down("two", NOW);
  CHECK(runningTasks(bench.state, bench.serviceId) == 2);
  down("one", NOW);
  CHECK(runningTasks(bench.state, bench.serviceId) == 0);
  down("one", 0);
  CHECK(runningTasks(bench.state, bench.serviceId) == 2);
  bench.change([](View& view) {
    view.erase({Kind::NODE, "one"});
    view.erase({Kind::NODE, "two"});
  });
  CHECK(runningTasks(bench.state, bench.serviceId) == 0);
  bench.change([](View& view) {
    for (auto& task : tasksOf(view.base())) view.erase({Kind::TASK, task.id()});
  });
  CHECK(bench.state.awayNodes().empty());
}

TEST_CASE("ordered id: in the order of the texts", "[manager]") {
  std::mt19937 random(1);
  std::vector<std::string> texts = {"", std::string(1, '\0'), std::string(8, '\xff')};
  for (int i = 0; i < 300; ++i) {
    std::string text(random() % 12, 'a');
    for (auto& letter : text) letter = static_cast<char>("\0a\x7f\xff"[random() % 4]);
    texts.push_back(text);
  }
  for (auto& a : texts) {
    for (auto& b : texts) {
      OrderedId::Less less;
      REQUIRE(less(OrderedId(a), OrderedId(b)) == (a < b));
      REQUIRE(less(OrderedId(a), std::string_view(b)) == (a < b));
      REQUIRE(less(std::string_view(a), OrderedId(b)) == (a < b));
    }
  }
}

TEST_CASE("state: a node that is no more keeps its number while it has tasks", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(1);
  bench.reconcile();
  bench.run("one");
  auto number = bench.state.nodeNumbers().of("one");
  bench.change([](View& view) { view.erase({Kind::NODE, "one"}); });
  CHECK(bench.state.nodeNumbers().of("one") == number);
  CHECK(bench.state.nodeAt(number) == nullptr);
  CHECK(bench.state.awayNodes().count(number) == 1);
  bench.node("two");
  CHECK(bench.state.nodeNumbers().of("two") != number);
  bench.change([](View& view) {
    for (auto& task : tasksOf(view.base())) view.erase({Kind::TASK, task.id()});
  });
  CHECK(bench.state.nodeNumbers().of("one") == NodeNumbers::NONE);
  bench.node("three");
  CHECK(bench.state.nodeNumbers().of("three") == number);
  CHECK(bench.state.awayNodes().empty());
}

TEST_CASE("id index: finds what a map has, whatever was added and removed", "[manager]") {
  std::map<std::string, int, std::less<>> all;
  IdIndex<std::pair<const std::string, int>> index;
  std::mt19937 random(1);
  CHECK(index.find("0") == nullptr);
  for (int step = 0; step < 20'000; ++step) {
    auto id = std::to_string(random() % 700);
    auto it = all.find(id);
    if (it == all.end()) {
      index.add(*all.emplace(id, step).first);
    } else {
      index.remove(id);
      all.erase(it);
    }
    if (step % 500 > 0) continue;
    for (int i = 0; i < 700; ++i) {
      auto known = all.find(std::to_string(i));
      auto found = index.find(std::to_string(i));
      REQUIRE(found == (known == all.end() ? nullptr : &*known));
    }
  }
}

}  // namespace
}  // namespace orch::control::manager
