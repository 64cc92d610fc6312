// What is forgotten of nodes that are down, and when, in virtual time.
#include <catch2/catch.hpp>

#include "lost-nodes.h"
#include "orch/fail.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::integration::registrator {
namespace {

// Forgets nodes, unless it is out of reach.
struct ForgettingCatalog final : public Catalog {
  kj::String name() const override { return kj::str("the catalog"); }
  std::string placeOf(const ServiceEntry& entry) const override { return entry.id; }
  std::string recordOf(const ServiceEntry& entry) const override { return entry.id; }
  Task<Records> list() override { co_return Records(); }
  Task<std::string> put(ServiceEntry) override { co_return std::string(); }
  Task<void> remove(std::string) override { co_return; }
  Task<void> renew(std::vector<std::string>) override { co_return; }
  uint64_t renewMs() const override { return 0; }
  Task<void> forgetNode(std::string nodeId) override {
    ++tries;
    if (away) fail(kj::str("the catalog does not answer"));
    forgotten.push_back(nodeId);
    co_return;
  }
  std::vector<std::string> forgotten;
  int tries = 0;
  bool away = false;
};

class TwoNodes final : public schema::ClusterControl::Server {
 public:
  kj::Promise<void> nodes(NodesContext context) override {
    auto nodes = context.getResults().initNodes(2);
    nodes[0].initMeta().setId("well");
    nodes[0].setState(schema::Node::State::READY);
    nodes[1].initMeta().setId("ill");
    nodes[1].setState(schema::Node::State::DOWN);
    return kj::READY_NOW;
  }
};

using Nodes = std::vector<std::string>;

struct LostFixture {
  LostFixture() {
    NodeFacts facts;
    facts.id = kj::str("own");
    host = kj::heap<Host>(kernel.client(), kj::mv(facts));
    lost = kj::refcounted<LostNodes>(world.env(), *host, catalog);
  }
  ~LostFixture() noexcept(false) { lost->end(); }
  void emit(kj::StringPtr topic, kj::StringPtr node) {
    kernel.emit(topic, node).wait(world.waitScope());
    world.settle();
  }
  testing::VirtualWorld world{1};
  testing::TestHost kernel{"/data", "/run"};
  ForgettingCatalog catalog;
  kj::Own<Host> host;
  kj::Own<LostNodes> lost;
};

TEST_CASE("registrator: nodes that are down are forgotten, once each time, and this one never",
          "[registrator]") {
  LostFixture test;
  schema::ClusterControl::Client cluster = kj::heap<TwoNodes>();
  test.kernel.addService("cluster", cluster);
  test.lost->start();
  test.world.settle();
  CHECK(test.catalog.forgotten == Nodes{"ill"});
  test.emit("node.down", "well");
  test.emit("node.down", "own");
  test.emit("node.ready", "well");
  CHECK(test.catalog.forgotten == Nodes{"ill", "well"});
  test.emit("node.down", "well");
  CHECK(test.catalog.forgotten == Nodes{"ill", "well", "well"});
}

TEST_CASE("registrator: a node that is back before it was forgotten is not", "[registrator]") {
  LostFixture test;
  test.lost->start();
  test.world.settle();
  test.catalog.away = true;
  test.emit("node.down", "a");
  test.emit("node.down", "b");
  CHECK(test.catalog.tries == 1);
  test.emit("node.ready", "a");
  test.catalog.away = false;
  test.world.advance(5 * kj::SECONDS);
  CHECK(test.catalog.forgotten == Nodes{"b"});
  test.world.advance(60 * kj::SECONDS);
  CHECK(test.catalog.tries == 2);
}

}  // namespace
}  // namespace orch::integration::registrator
