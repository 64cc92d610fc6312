// Runs that ended anywhere, other settings afterwards, two owners: what the next run makes of it.
#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "driver.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/privilege.h"
#include "lib/rtnetlink.h"
#include "node-test.h"
#include "node.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/test-host.h"
#include "wiring.h"

namespace orch::network::bridge {
namespace {

// Ends a run after so many of its steps, as a kill would: nothing that is tried afterwards happens.
struct Kill {
  explicit Kill(int after) : left(after) {}
  void operator()() {
    if (left-- <= 0) fail(kj::str("killed"));
  }
  int left;
};

void checkNothingLeft(TestNode& node) {
  node.untilOnly({});
  CHECK(node.used() == 0);
}

TEST_CASE("network: a run that ended after any step of an attach leaves a whole task or nothing",
          "[network][root][netns]") {
  TestNode node("attach-killed");
  node.run();
  node.crash();
  auto layout = node.layout();
  TaskRecord record{"torn", *parseIpv4("172.30.0.9")};
  constexpr int MOST_STEPS = 100;
  for (int steps = 0;; ++steps) {
    INFO("killed after " << steps << " steps");
    REQUIRE(steps < MOST_STEPS);
    bool whole = attemptNow([&] { wire(layout, record, Kill(steps)); }).ok();
    node.run();
    auto kept = node.retain({"torn"});
    REQUIRE(kept.size() == (whole ? 1 : 0));
    if (whole) {
      auto server = serverIn(kept[0].path, 80);
      CHECK(connectTo(socketIn("", false), kept[0].address, 80) == 0);
      node.detach("torn");
    }
    checkNothingLeft(node);
    node.crash();
    if (whole) break;
  }
}

TEST_CASE("network: a run that ended after any step of a detach leaves nothing",
          "[network][root][netns]") {
  TestNode node("detach-killed");
  auto layout = node.layout();
  constexpr int MOST_STEPS = 100;
  for (int steps = 0;; ++steps) {
    INFO("killed after " << steps << " steps");
    REQUIRE(steps < MOST_STEPS);
    node.run();
    auto end = node.attach("torn");
    node.crash();
    bool whole = attemptNow([&] {
                   unwire(layout, "torn", *parseIpv4(end.address.c_str()), Kill(steps));
                 }).ok();
    node.run();
    // Whether the agent still wants it or not.
    auto kept =
        node.retain(steps % 2 == 0 ? std::vector<std::string>{"torn"} : std::vector<std::string>());
    if (steps == 0) {
      CHECK(kept.size() == 1);  // nothing has happened to it
      node.detach("torn");
    } else {
      CHECK(kept.empty());
    }
    checkNothingLeft(node);
    node.crash();
    if (whole) break;
  }
}

TEST_CASE("network: a bridge whose maker was killed before it named it is ours",
          "[network][root][netns]") {
  TestNode node("unnamed");
  auto layout = node.layout();
  Rtnetlink().run(newBridge("orch0", macOf(layout.gateway), 1400));
  node.run();
  auto bridge = Rtnetlink().link("orch0");
  CHECK(bridge->alias == "orch network.bridge");
  CHECK(bridge->mtu == 1500);
  node.stop();
  CHECK_FALSE(Rtnetlink().link("orch0"));
}

TEST_CASE("network: a bridge that somebody else made stays as it is", "[network][root][netns]") {
  TestNode node("foreign");
  Rtnetlink net;
  net.run(newBridge("orch0", macOf(*parseIpv4("10.9.9.9")), 1400));
  net.run(newAddress(net.link("orch0")->index, *parseIpv4("10.9.9.9"), 24));
  node.run();
  CHECK(net.link("orch0")->mtu == 1400);
  CHECK(net.link("orch0")->alias.empty());
  CHECK(net.addresses().size() == 3);  // with lo's and the gateway's
  node.stop();
  CHECK(net.link("orch0"));
}

TEST_CASE("network: after other settings nothing of the old ones stays", "[network][root][netns]") {
  TestNode node("settings");
  node.run();
  node.crash();
  auto old = node.layout();
  Rtnetlink net;
  auto gatewayOnly = [&](const Layout& layout) {
    auto bridge = net.link(layout.bridge.c_str());
    REQUIRE(bridge);
    CHECK(bridge->mtu == layout.mtu);
    std::vector<Ipv4> found;
    for (auto& address : net.addresses()) {
      if (address.link == bridge->index) found.push_back(address.address);
    }
    CHECK(found == std::vector<Ipv4>{layout.gateway});
  };
  auto layout = old;
  layout.subnet = *parseSubnet("10.77.0.0/24");
  layout.gateway = *parseIpv4("10.77.0.1");
  layout.mtu = 1400;
  prepareNode(layout);
  gatewayOnly(layout);
  layout.table = "other";
  layout.bridge = "orch1";
  prepareNode(layout);
  gatewayOnly(layout);
  CHECK_FALSE(net.link("orch0"));
  CHECK_FALSE(nftTableExists("orch"));
  prepareNode(old);  // and back, for the node's own end
  CHECK_FALSE(net.link("orch1"));
  gatewayOnly(old);
}

TEST_CASE("network: a task that is kept gets the MTU of the settings", "[network][root][netns]") {
  TestNode node("mtu");
  node.run();
  auto one = node.attach("one");
  auto layout = node.layout();
  layout.mtu = 1400;
  reconnect(layout, {{"one", *parseIpv4(one.address.c_str())}});
  CHECK(Rtnetlink().link(layout.deviceOf("one").c_str())->mtu == 1400);
  inNamespace(one.path.c_str(), [] { CHECK(Rtnetlink().link("eth0")->mtu == 1400); });
}

TEST_CASE("network: neighbours of tasks that are gone are forgotten", "[network][root][netns]") {
  TestNode node("neighbours");
  node.run();
  auto one = node.attach("one");
  Rtnetlink net;
  auto bridge = net.link("orch0")->index;
  for (auto* address : {"172.30.0.77", "10.1.2.3"}) {
    net.run(newNeighbour(bridge, *parseIpv4(address), macOf(*parseIpv4(address))));
  }
  node.retain({"one"});
  auto left = net.permanentNeighbours();
  REQUIRE(left.size() == 1);
  CHECK(left[0].address == *parseIpv4(one.address.c_str()));
  CHECK(node.used() == 1);
}

// A driver beside the test node's, as that of a second orchd on the node, with folders of its own.
struct Beside {
  explicit Beside(Layout layout)
      : files("network-beside"),
        host(files.path(), files.path(), "network.bridge"),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)) {
    NodeFacts facts;
    facts.instance = kj::str("network.bridge");
    plugin = kj::heap<Host>(host.client(), kj::mv(facts));
    layout.folder = files.path().cStr();
    driver = kj::refcounted<BridgeDriver>(
        *env, plugin->log(), layout, [] {}, 0 * kj::SECONDS);
  }
  // The text of the error; empty if there is none.
  std::string start() {
    return errorOf([&] { driver->start().promise().wait(io.waitScope); });
  }
  void stop() { driver->stop().promise().wait(io.waitScope); }

  testing::TestFolder files;
  testing::TestHost host;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  kj::Own<Host> plugin;
  kj::Own<BridgeDriver> driver;
};

// A loop of its own, in the same network namespace.
void onAnotherThread(kj::Function<void()> work) {
  std::thread([&] { work(); }).join();
}

}  // namespace

TEST_CASE("network: a bridge and a table have one owner on the node", "[network][root][netns]") {
  TestNode node("owner");
  auto layout = node.layout();
  node.run();
  auto one = node.attach("one");
  auto server = serverIn(one.path, 80);
  onAnotherThread([&] {
    Beside second(layout);
    CHECK(
        second.start() ==
        "the network 'bridge' cannot use the bridge 'orch0': another orchd on this node does; set "
        "'bridge', 'table' and 'subnet' of the plugin to others");
    second.stop();
  });
  layout.bridge = "orch1";
  onAnotherThread([&] {
    Beside second(layout);
    CHECK(second.start().find("cannot use the table 'orch'") != std::string::npos);
    second.stop();
  });
  CHECK(nftTableExists("orch"));
  CHECK(connectTo(socketIn("", false), one.address, 80) == 0);
}

TEST_CASE("network: without root it says what it lacks", "[network][root][netns]") {
  CHECK(missingPrivilege() == nullptr);
  std::thread([] {  // capabilities are a thread's own
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    KJ_SYSCALL(syscall(SYS_capset, &header, none));
    CHECK(KJ_ASSERT_NONNULL(missingPrivilege()) == "CAP_NET_ADMIN and CAP_SYS_ADMIN");
  })
      .join();
}

}  // namespace orch::network::bridge
