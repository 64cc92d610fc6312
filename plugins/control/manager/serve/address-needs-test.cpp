// Services that need more addresses than their networks have.
#include <catch2/catch.hpp>

#include "serve/test-networks.h"

namespace orch::control::manager {
namespace {

using Update = schema::UpdateConfig;

// On the network `small`, which has five addresses to give.
struct SmallNetwork : NetworkFixture {
  explicit SmallNetwork(const Fill& more = nullptr) {
    make("small", [&](auto it) {
      it.setSubnet("10.5.0.0/29");
      if (more) more(it);
    });
  }
  using Change = std::function<void(schema::ServiceSpec::Builder)>;
  static Spec with(uint32_t replicas, const Change& change, const std::string& name = "web") {
    auto spec = on("small", replicas, name);
    spec.more = [more = spec.more, change](schema::ServiceSpec::Builder it) {
      more(it);
      change(it);
    };
    return spec;
  }
  std::string scaleError(uint32_t replicas) {
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] { scale("web", replicas); })) {
      return plainText(*error).cStr();
    }
    return "";
  }
};

void dnsrr(schema::ServiceSpec::Builder it) {
  it.initEndpoint().setMode(schema::EndpointSpec::Mode::DNSRR);
}
void startFirst(schema::ServiceSpec::Builder it) {
  it.initUpdate().setOrder(Update::Order::START_FIRST);
}

TEST_CASE("address needs: each task has an address, and the service one of its own", "[manager]") {
  SmallNetwork cluster;
  CHECK(cluster.createError(SmallNetwork::on("small", 5)) ==
        "network 'small' has 5 addresses for tasks, but 6 would be needed (5 tasks, the service "
        "itself); use fewer tasks or a network with a larger subnet");
  auto listed = cluster.control.servicesRequest().send().wait(cluster.world.waitScope());
  CHECK(listed.getServices().size() == 0);
  CHECK(cluster.createError(SmallNetwork::with(5, dnsrr)) == "");
  cluster.settle();
  CHECK(cluster.states("web") == "running running running running running");
}

TEST_CASE("address needs: other services count, and what a range leaves", "[manager]") {
  SmallNetwork cluster([](auto it) {
    it.setIpRange("10.5.0.0/30");  // .1 is the gateway's, .3 is reserved
    auto reserved = it.initReserved(1)[0];
    reserved.setKey("router");
    reserved.setValue("10.5.0.3");
  });
  CHECK_THAT(cluster.createError(SmallNetwork::on("small", 1)),
             Catch::StartsWith("network 'small' has 1 address for tasks, but 2 would be needed"));
  cluster.create(SmallNetwork::with(1, dnsrr));
  cluster.settle();
  CHECK(cluster.addresses() == std::vector<std::string>{"10.5.0.2/29"});
  CHECK_THAT(cluster.createError(SmallNetwork::with(1, dnsrr, "other")),
             Catch::Contains("but 2 would be needed (1 task, 1 of other services)"));
}

TEST_CASE(
    "address needs: a scale or an update that asks for more is refused, one that does not is "
    "not",
    "[manager]") {
  SmallNetwork cluster;
  cluster.create(SmallNetwork::on("small", 3));
  cluster.settle();
  CHECK_THAT(cluster.scaleError(5), Catch::Contains("6 would be needed"));
  CHECK(cluster.states("web") == "running running running");
  auto larger = SmallNetwork::on("small", 5);
  CHECK_THAT(cluster.update(larger), Catch::Contains("6 would be needed"));
  CHECK(cluster.scaleError(4) == "");
  CHECK(cluster.scaleError(2) == "");
  Spec elsewhere{"second", 9};
  cluster.create(elsewhere);
  cluster.settle();
  auto moved = SmallNetwork::on("small", 9, "second");
  CHECK_THAT(cluster.update(moved), Catch::Contains("13 would be needed"));
}

TEST_CASE("address needs: an update that starts first needs more while it lasts", "[manager]") {
  SmallNetwork cluster;
  CHECK_THAT(cluster.createError(SmallNetwork::with(4, startFirst)),
             Catch::Contains("6 would be needed (4 tasks, the service itself, 1 more while an "
                             "update starts first)"));
  auto allAtOnce = [](schema::ServiceSpec::Builder it) {
    startFirst(it);
    it.getUpdate().setParallelism(0);
  };
  CHECK_THAT(cluster.createError(SmallNetwork::with(3, allAtOnce)),
             Catch::Contains("7 would be needed"));
  cluster.create(SmallNetwork::with(3, startFirst));
  cluster.settle();
  auto next = SmallNetwork::with(3, startFirst);
  next.image = "web:2";
  cluster.update(next);
  cluster.advance(120 * kj::SECONDS);
  CHECK(cluster.states("web") == "running running running");
  CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
}

TEST_CASE("address needs: a global service needs one for each node that it may be on",
          "[manager]") {
  SmallNetwork cluster;
  auto global = [](schema::ServiceSpec::Builder it) { it.getMode().setGlobal(); };
  for (auto id : {"node3", "node4", "node5"}) {
    auto& node = cluster.addNode(id);
    node.drivers = {"network.overlay"};
    node.open();
  }
  cluster.settle();
  cluster.addNode("plain").open();  // which cannot have it
  cluster.settle();
  CHECK_THAT(cluster.createError(SmallNetwork::with(0, global)),
             Catch::Contains("6 would be needed (5 tasks, the service itself)"));
  auto some = [&](schema::ServiceSpec::Builder it) {
    global(it);
    auto constraints = it.getTask().initPlacement().initConstraints(2);
    constraints.set(0, "node.hostname!=host-node5");
    constraints.set(1, "node.hostname!=host-plain");
  };
  CHECK(cluster.createError(SmallNetwork::with(0, some)) == "");
  // A node that joins later has a task that waits, and says for what.
  auto& six = cluster.addNode("node6");
  six.drivers = {"network.overlay"};
  six.open();
  cluster.settle();
  auto waiting = 0;
  auto listed = cluster.tasks("web");
  for (auto task : listed.getTasks()) {
    if (task.getStatus().getState() != schema::TaskState::PENDING) continue;
    ++waiting;
    CHECK(task.getStatus().getError() == "no address is left on the network 'small'");
  }
  CHECK(waiting == 1);
}

}  // namespace
}  // namespace orch::control::manager
