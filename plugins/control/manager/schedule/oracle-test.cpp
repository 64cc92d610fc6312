// Whatever happens, each task is where the rules want it, as somebody says who looks at everything
// anew.
#include <catch2/catch.hpp>

#include <random>

#include "orch/attempt.h"
#include "orch/testing/placement-oracle.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
constexpr uint64_t CORE = 1'000'000'000;
constexpr uint64_t GIB = 1ull << 30;

std::string digestOf(uint32_t number) { return "sha256:" + std::string(64, 'a' + number); }

class Judged : public TestCluster {
 public:
  explicit Judged(uint64_t seed) : TestCluster(1000, seed), random(seed) {
    use("scheduler.binpack");
    store.observe([this](auto batch) { oracle.wrote(batch, world.env().nowNs()); });
    start();
    for (uint32_t i = 1; i <= 5; ++i) {
      auto id = "node" + std::to_string(i);
      ids.push_back(id);
      nodes[id] = &addNode(id);
      nodes[id]->cpuNanos = (2 + i) * CORE;
      nodes[id]->memoryBytes = (4 + 2 * i) * GIB;
      describe(id);
      nodes[id]->open();
      label(id);
    }
    calm();
  }
  void step() {
    auto& id = ids[below(ids.size())];
    auto node = nodes[id];
    auto name = "s" + std::to_string(below(6));
    switch (below(14)) {
      case 0:
        return label(id);
      case 1:
        return availability(id);
      case 2:
        if (node->connected()) node->close(true);
        oracle.images.erase(id);
        return;
      case 3:
        if (node->connected()) return;
        describe(id);
        node->open();
        return;
      case 4:
        return offer(id);
      case 5:
        if (!node->tasks.empty()) {
          node->report(node->tasks.begin()->first, TaskState::FAILED, "gone");
        }
        return;
      case 6:
        attemptNow([&] { remove(name); });
        return;
      case 7:
      case 8:
        attemptNow([&] { scale(name, below(12)); });
        return;
      default: {
        Spec spec{name, below(9), "web:" + std::to_string(++made), wish()};
        auto outcome = attemptNow([&] { create(spec); });
        if (!outcome.ok()) attemptNow([&] { update(spec); });
      }
    }
  }
  void calm() {
    settle();
    advance(5 * kj::SECONDS);
    settle();
    REQUIRE(oracle.mistake() == "");
    REQUIRE(oracle.complaint() == "");
  }

  testing::PlacementOracle oracle;

 private:
  uint32_t below(size_t limit) { return static_cast<uint32_t>(random() % limit); }
  std::function<void(schema::ServiceSpec::Builder)> wish() {
    return [=, cpu = below(3) * CORE, memory = below(4) * GIB, gpus = below(4), zone = below(5),
            most = below(4), prefers = below(3), packs = below(3) == 0, image = below(4),
            port = below(8), each = below(6) == 0, wished = below(5), beside = below(16),
            neighbour = "s" + std::to_string(below(6)),
            startFirst = below(2) == 0](schema::ServiceSpec::Builder spec) {
      auto task = spec.getTask();
      if (each) spec.getMode().setGlobal();
      task.getContainer().setImageDigest(image == 3 ? "" : digestOf(image).c_str());
      task.initResources().setReserveCpuNanos(cpu);
      task.getResources().setReserveMemoryBytes(memory);
      if (gpus == 1 || gpus == 2) {
        auto wanted = task.getResources().initGeneric(1)[0];
        wanted.setKind("gpu");
        wanted.setAmount(gpus);
      }
      auto placement = task.initPlacement();
      std::vector<const char*> terms;
      if (zone < 2) terms.push_back(zone == 0 ? "node.labels.zone==a" : "node.labels.zone!=a");
      if (wished < 2) {
        terms.push_back(wished == 0 ? "node.labels.zone==b ~ 3" : "node.labels.zone!=b ~ 2");
      }
      auto constraints = placement.initConstraints(terms.size());
      for (uint32_t i = 0; i < constraints.size(); ++i) constraints.set(i, terms[i]);
      if (beside < 4) {
        auto term = kj::str("affinity:service", beside % 2 == 0 ? "==" : "!=", neighbour.c_str(),
                            beside < 2 ? "" : " ~ 4");
        placement.initFilters(1).set(0, term);
      }
      if (most == 3 && !each) placement.setMaxReplicasPerNode(2);
      if (prefers == 1 && !packs) placement.initSpreadOver(1).set(0, "node.labels.zone");
      if (packs) placement.setStrategy("binpack");
      if (port == 0) {
        auto published = spec.initEndpoint().initPorts(1)[0];
        published.setTarget(80);
        published.setPublished(8080);
        published.setMode(schema::PortSpec::PublishMode::HOST);
      }
      if (startFirst) spec.initUpdate().setOrder(schema::UpdateConfig::Order::START_FIRST);
      spec.getUpdate().setMonitorMs(100);
    };
  }
  void describe(const std::string& id) {
    auto gpus = below(4);
    bool named = below(2) == 0;
    nodes[id]->describes = [=](schema::NodeDescription::Builder description) {
      if (gpus == 0) return;
      auto one = description.initGeneric(1)[0];
      one.setKind("gpu");
      one.setAmount(gpus);
      auto names = one.initNames(named ? gpus : 0);
      for (uint32_t i = 0; i < names.size(); ++i) names.set(i, kj::str("GPU-", i));
    };
  }
  schema::NodeChange::Builder change(
      capnp::Request<schema::ClusterControl::UpdateNodeParams,
                     schema::ClusterControl::UpdateNodeResults>& request,
      const std::string& id) {
    request.setRequestId(kj::str("node-", ++made));
    request.setId(id.c_str());
    return request.initChange();
  }
  void label(const std::string& id) {
    auto request = control.updateNodeRequest();
    auto label = change(request, id).initAddLabels(1)[0];
    label.setKey("zone");
    label.setValue(std::string(1, 'a' + below(3)).c_str());
    request.send().wait(world.waitScope());
  }
  void availability(const std::string& id) {
    auto request = control.updateNodeRequest();
    auto wanted = below(4);  // active half of the time
    change(request, id)
        .getAvailability()
        .setSet(wanted == 0   ? schema::Node::Availability::PAUSE
                : wanted == 1 ? schema::Node::Availability::DRAIN
                              : schema::Node::Availability::ACTIVE);
    request.send().wait(world.waitScope());
  }
  void offer(const std::string& id) {
    if (!nodes[id]->connected()) return;
    std::map<std::string, std::vector<std::string>> images;
    for (uint32_t i = 0; i < 3; ++i) {
      if (below(2) == 0) images[digestOf(i)] = {};
    }
    nodes[id]->offer(images);
    auto& known = oracle.images[id];
    known.clear();
    for (auto& image : images) known.insert(image.first);
  }

  std::mt19937 random;
  uint32_t made = 0;
  std::vector<std::string> ids;
  std::map<std::string, ScriptedNode*> nodes;
};

TEST_CASE("oracle: each task is on the best of the nodes that may have it, or none may",
          "[manager]") {
  uint64_t judged = 0, waiting = 0;
  for (uint64_t seed = 1; seed <= 18; ++seed) {
    CAPTURE(seed);
    Judged cluster(seed);
    for (int step = 0; step < 40; ++step) {
      CAPTURE(step);
      cluster.step();
      cluster.calm();
    }
    judged += cluster.oracle.judged();
    waiting += cluster.oracle.waiting();
  }
  // It has looked at something.
  CHECK(judged > 400);
  CHECK(waiting > 100);
}

// The difference between the most and the fewest in the parts of the first label, and of the second
// within those.
uint32_t unevenness(const testing::PlacementOracle::Counts& counts) {
  std::map<std::string, std::map<std::string, uint32_t>> inner;
  std::map<std::string, uint32_t> outer;
  for (auto& [values, count] : counts) {
    outer[values[0]] += count;
    if (values.size() > 1) inner[values[0]][values[1]] = count;
  }
  auto apart = [](const std::map<std::string, uint32_t>& parts) {
    auto less = [](auto& a, auto& b) { return a.second < b.second; };
    auto [fewest, most] = std::minmax_element(parts.begin(), parts.end(), less);
    return most->second - fewest->second;
  };
  auto worst = apart(outer);
  for (auto& entry : inner) worst = std::max(worst, apart(entry.second));
  return worst;
}

TEST_CASE("oracle: preferences hold to within one while there is room, however a service grows",
          "[manager]") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    testing::PlacementOracle oracle;
    TestCluster cluster(1000, seed);
    cluster.store.observe([&](auto batch) { oracle.wrote(batch, cluster.world.env().nowNs()); });
    cluster.start();
    for (uint32_t i = 0; i < 9; ++i) {
      auto id = "node" + std::to_string(i);
      auto& node = cluster.addNode(id);
      node.open();
      auto request = cluster.control.updateNodeRequest();
      request.setRequestId(kj::str("label-", id.c_str()));
      request.setId(id.c_str());
      auto labels = request.initChange().initAddLabels(2);
      labels[0].setKey("zone");
      labels[0].setValue(std::string(1, 'a' + below(3)).c_str());
      labels[1].setKey("rack");
      labels[1].setValue(std::string(1, 'r' + below(3)).c_str());
      request.send().wait(cluster.world.waitScope());
    }
    std::vector<std::string> levels = {"node.labels.zone", "node.labels.rack"};
    levels.resize(1 + below(2));
    uint32_t replicas = below(5);
    cluster.create({"web", replicas, "web:1", [&](schema::ServiceSpec::Builder spec) {
                      auto list = spec.getTask().initPlacement().initSpreadOver(levels.size());
                      for (uint32_t i = 0; i < list.size(); ++i) list.set(i, levels[i].c_str());
                    }});
    for (int step = 0; step < 6; ++step) {
      CAPTURE(step);
      cluster.settle();
      auto counts = oracle.spreadOf("web", levels);
      uint32_t all = 0;
      for (auto& entry : counts) all += entry.second;
      CHECK(all == replicas);
      CHECK(unevenness(counts) <= 1);
      replicas += 1 + below(12);
      cluster.scale("web", replicas);
    }
    CHECK(oracle.mistake() == "");
  }
}

}  // namespace
}  // namespace orch::control::manager
