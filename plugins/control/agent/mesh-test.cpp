// What the plugin of published ports is told of other nodes, and when.
#include <catch2/catch.hpp>

#include "mesh-table.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::control::agent {
namespace {

// Writes down what it is told: "all 10.0.0.1 n2 n3", "some 10.0.0.1 n2 -n3".
class FakeMesh final : public schema::PortPublisher::Server {
 public:
  FakeMesh(std::vector<std::string>& told, const std::vector<std::string>& untaken)
      : told(told), untaken(untaken) {}
  kj::Promise<void> update(UpdateContext context) override {
    auto change = context.getParams().getChange();
    auto text = kj::str(change.getComplete() ? "all " : "some ", change.getAddress());
    for (auto node : change.getNodes()) text = kj::str(text, " ", node.getNodeId());
    for (auto id : change.getGone()) text = kj::str(text, " -", id);
    told.push_back(text.cStr());
    auto list = context.getResults().initUntaken(untaken.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, untaken[i].c_str());
    return kj::READY_NOW;
  }

 private:
  std::vector<std::string>& told;
  const std::vector<std::string>& untaken;
};

struct MeshFixture {
  MeshFixture()
      : ports(kj::heap<FakeMesh>(told, untaken)),
        table(world.env(), log, [this] { return ports; }) {}

  void describe(kj::StringPtr address) {
    capnp::MallocMessageBuilder message;
    auto description = message.initRoot<schema::NodeDescription>();
    description.setAddress(address);
    table.describe(description);
    world.settle();
  }
  void hear(bool complete, std::vector<const char*> nodes) {
    table.begin(complete);
    for (auto id : nodes) {
      capnp::MallocMessageBuilder message;
      auto node = message.initRoot<schema::MeshNode>();
      node.setNodeId(id);
      node.setAddress("10.0.0.2");
      table.take(node.asReader());
    }
    table.end();
    world.settle();
  }
  std::vector<std::string> said() { return std::exchange(told, {}); }

  testing::VirtualWorld world{1};
  testing::TestHost host{"/data", "/run"};
  Log log{host.client()};
  std::vector<std::string> told;
  std::vector<std::string> untaken;
  schema::PortPublisher::Client ports;
  MeshTable table;
};

using Told = std::vector<std::string>;

TEST_CASE_METHOD(MeshFixture,
                 "agent: a node that has not heard of the others yet does not say there are none",
                 "[agent]") {
  describe("10.0.0.1:7946");
  CHECK(said() == Told{"some 10.0.0.1"});
  table.restarted();
  world.settle();
  CHECK(said() == Told{"some 10.0.0.1"});
  hear(true, {"n2"});
  CHECK(said() == Told{"all 10.0.0.1 n2"});
  hear(false, {"n3"});
  CHECK(said() == Told{"some 10.0.0.1 n3"});
  table.restarted();
  world.settle();
  CHECK(said() == Told{"all 10.0.0.1 n2 n3"});
  describe("10.0.0.9:7946");
  CHECK(said() == Told{"all 10.0.0.9 n2 n3"});
}

TEST_CASE_METHOD(MeshFixture, "agent: a node that has left its cluster says that it is alone",
                 "[agent]") {
  describe("");
  CHECK(said().empty());
  describe("10.0.0.1:7946");
  hear(true, {"n2"});
  CHECK(said().size() == 2);
  hear(true, {});
  CHECK(said() == Told{"all 10.0.0.1"});
  describe("");
  CHECK(said() == Told{"all "});
  table.restarted();
  world.settle();
  CHECK(said() == Told{"all "});
}

TEST_CASE_METHOD(MeshFixture, "agent: an address that is not IPv4 is none for the mesh",
                 "[agent]") {
  hear(true, {"n2"});
  CHECK(said() == Told{"all  n2"});
  describe("[fd90::1]:7946");
  CHECK(said().empty());
}

TEST_CASE_METHOD(MeshFixture, "agent: a port that this node does not answer on is told of once",
                 "[agent]") {
  size_t changes = 0;
  table.observeUntaken([&] { ++changes; });
  describe("10.0.0.1:7946");
  untaken = {"8080/tcp: another program listens on it"};
  hear(true, {"n2"});
  hear(false, {"n2"});
  CHECK(changes == 1);
  CHECK(table.untaken().count(untaken[0]) == 1);
  untaken.clear();  // as the plugin finds at one of its looks
  table.ask();
  world.settle();
  CHECK(changes == 2);
  CHECK(table.untaken().empty());
}

}  // namespace
}  // namespace orch::control::agent
