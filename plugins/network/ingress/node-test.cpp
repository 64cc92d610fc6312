#include "node-test.h"

#include <capnp/message.h>
#include <kj/debug.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include <algorithm>
#include <filesystem>

#include "driver.h"
#include "lib/kernel-switch.h"
#include "lib/names.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"
#include "publication.h"

extern "C" void orch_plugin_create(orch::Env& env, orch::schema::Plugin::Client* out);

namespace orch::network::ingress {

namespace {

constexpr const char* BRIDGE = "orch0";
constexpr Ipv4Subnet SUBNET{0xac1e0000, 16};  // 172.30.0.0/16
constexpr Ipv4Subnet LOOPBACK{0x7f000000, 8};
constexpr Ipv4 GATEWAY = SUBNET.network + 1;
constexpr int32_t SRCNAT = 100;
constexpr Ipv6Twins TWINS{SUBNET, {{0xfd, 0x30}, 64}};

// As network.bridge has it: what comes from the node's own 127/8, and from one task to another by
// the node, is answered by way of the node.
void makeBridge() {
  Rtnetlink net;
  net.run(newBridge(BRIDGE, macOf(GATEWAY), 1500));
  auto bridge = net.link(BRIDGE)->index;
  net.run(newAddress(bridge, GATEWAY, SUBNET.prefix), linkUp(bridge), linkUp(LOOPBACK_INDEX));
  switchOn(kj::str("/proc/sys/net/ipv4/conf/", BRIDGE, "/route_localnet"));
  switchOn("/proc/sys/net/ipv4/ip_forward");
  NftBatch batch("test-bridge");
  batch.addTable().addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  batch.addRule("postrouting", NftRule().sourceIn(SUBNET).notTo(BRIDGE).masquerade());
  batch.addRule("postrouting", NftRule().sourceIn(LOOPBACK).to(BRIDGE).masquerade());
  batch.addRule("postrouting", NftRule().sourceIn(SUBNET).to(BRIDGE).isDnat(true).masquerade());
  batch.commit();
  net.run(newAddress(bridge, TWINS.of(GATEWAY), TWINS.range.prefix));
  forwardIpv6();
  NftBatch six("test-bridge", NftFamily::IP6);
  six.addTable().addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  constexpr Ipv6Subnet LOOPBACK6{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128};
  six.addRule("postrouting", NftRule(true).sourceIn6(TWINS.range).notTo(BRIDGE).masquerade());
  six.addRule("postrouting", NftRule(true).sourceIn6(LOOPBACK6).to(BRIDGE).masquerade());
  six.addRule("postrouting",
              NftRule(true).sourceIn6(TWINS.range).to(BRIDGE).isDnat(true).masquerade());
  six.commit();
}

void plug(const std::string& path, const std::string& name, Ipv4 address) {
  auto made = makeNamespace(path.c_str());
  Rtnetlink net;
  auto bridge = net.link(BRIDGE)->index;
  VethSpec pair;
  pair.hostName = "t-" + name;
  pair.peerName = "eth0";
  pair.peerMac = macOf(address);
  pair.master = bridge;
  pair.peerNamespace = made.handle;
  net.run(newVeth(pair));
  auto port = net.link(pair.hostName.c_str())->index;
  net.run(newForwarding(port, pair.peerMac), newNeighbour(bridge, address, pair.peerMac));
  net.attempt(setHairpin(port));
  auto leg = made.inside->link("eth0")->index;
  made.inside->run(linkUp(LOOPBACK_INDEX), linkUp(leg), newAddress(leg, address, SUBNET.prefix),
                   newDefaultRoute(leg, GATEWAY),
                   newAddress(leg, TWINS.of(address), TWINS.range.prefix),
                   newDefaultRoute(leg, TWINS.of(GATEWAY)));
  net.run(newNeighbour(bridge, TWINS.of(address), pair.peerMac));
  inNamespace(path.c_str(), [] { waitForLink("eth0"); });
  waitForLink(pair.hostName.c_str());
}

}  // namespace

TestNode::TestNode(kj::StringPtr testName)
    : folders(kj::heap<testing::TestFolder>(kj::str("ingress-", testName))),
      io(kj::setupAsyncIo()),
      env(newSystemEnv(io)),
      time(kj::heap<testing::HeldTime>(*env, io.waitScope)),
      host(kj::heap<testing::TestHost>(folders->sub("data"), folders->sub("run"),
                                       "network.ingress")) {
  std::filesystem::create_directories(folders->sub("netns").cStr());
  makeBridge();
}

TestNode::~TestNode() noexcept(false) {
  if (plugin == nullptr) run();
  retain({});
  stop();
  crash();
  for (auto& [id, end] : tasks) dropPin(end.path.c_str());
}

void TestNode::run() {
  auto client = schema::Plugin::Client(nullptr);
  orch_plugin_create(*time, &client);
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  auto configured = host->configure(kj::mv(client), settings.asReader(), io.waitScope);
  publisher = host->start<schema::PortPublisher>(configured, "network.ingress", io.waitScope);
  plugin = kj::mv(configured);
}

std::vector<std::string> TestNode::events() const { return topicsOf(*host); }
kj::StringPtr TestNode::folder() const { return folders->path(); }
const std::vector<std::string>& TestNode::logLines() const { return host->logLines(); }

void TestNode::crash() {
  publisher = nullptr;
  plugin = nullptr;
}

void TestNode::stop() { KJ_ASSERT_NONNULL(plugin).stopRequest().send().wait(io.waitScope); }

void TestNode::pass(kj::StringPtr what, kj::Function<bool()> reached) {
  auto looked = [&] {
    time->advance(IngressDriver::LOOK_EVERY);
    return reached();
  };
  testing::until(*env, io.waitScope, what, looked);
}

End TestNode::publish(const std::string& taskId, std::vector<Port> ports) {
  auto address = GATEWAY + 1 + Ipv4(tasks.size());
  auto known = tasks.find(taskId);
  if (known == tasks.end()) {
    End end{taskId,
            kj::str(folders->sub("netns"), "/", taskId.c_str()).cStr(),
            ipv4Text(address).cStr(),
            {},
            ipv6Text(TWINS.of(address)).cStr()};
    if (isId(taskId.c_str())) plug(end.path, taskId, address);
    known = tasks.emplace(taskId, end).first;
  }
  auto& end = known->second;
  auto call = KJ_ASSERT_NONNULL(publisher).publishRequest();
  call.setTaskId(taskId.c_str());
  call.setAddress(end.address.c_str());
  call.setAddress6(end.address6.c_str());
  auto list = call.initPorts(ports.size());
  for (size_t i = 0; i < ports.size(); ++i) {
    TaskPort port{ports[i].target, ports[i].published,
                  uint8_t(ports[i].udp ? IPPROTO_UDP : IPPROTO_TCP), ports[i].host};
    port.write(list[i]);
  }
  auto answer = call.send().wait(io.waitScope);
  end.published.clear();
  for (auto port : answer.getPorts()) end.published.push_back(port.getPublished());
  return end;
}

End TestNode::publishActive(const std::string& taskId, std::vector<Port> ports) {
  auto end = publish(taskId, kj::mv(ports));
  activate(taskId);
  return end;
}

void TestNode::activate(const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(publisher).activateRequest();
  call.setTaskId(taskId.c_str());
  call.send().wait(io.waitScope);
}

void TestNode::deactivate(const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(publisher).deactivateRequest();
  call.setTaskId(taskId.c_str());
  call.send().wait(io.waitScope);
}

void TestNode::withdraw(const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(publisher).withdrawRequest();
  call.setTaskId(taskId.c_str());
  call.send().wait(io.waitScope);
}

void TestNode::retain(std::vector<std::string> taskIds) {
  auto call = KJ_ASSERT_NONNULL(publisher).retainRequest();
  auto list = call.initTaskIds(taskIds.size());
  for (size_t i = 0; i < taskIds.size(); ++i) list.set(i, taskIds[i].c_str());
  call.send().wait(io.waitScope);
}

std::vector<std::string> TestNode::tell(const std::string& own, std::vector<Elsewhere> nodes,
                                        std::vector<std::string> gone, bool complete) {
  auto call = KJ_ASSERT_NONNULL(publisher).updateRequest();
  auto change = call.initChange();
  change.setComplete(complete);
  change.setAddress(own.c_str());
  change.initInside(1).set(0, subnetText(SUBNET));
  auto list = change.initNodes(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    list[i].setNodeId(nodes[i].id.c_str());
    list[i].setAddress(nodes[i].address.c_str());
    auto ports = list[i].initPorts(nodes[i].tcp.size() + nodes[i].udp.size());
    uint32_t count = 0;
    auto put = [&](auto& some, schema::PortSpec::Protocol protocol) {
      for (auto& [published, tasks] : some) {
        auto port = ports[count++];
        port.setProtocol(protocol);
        port.setPublished(published);
        port.setTasks(tasks);
      }
    };
    put(nodes[i].tcp, schema::PortSpec::Protocol::TCP);
    put(nodes[i].udp, schema::PortSpec::Protocol::UDP);
  }
  auto left = change.initGone(gone.size());
  for (size_t i = 0; i < gone.size(); ++i) left.set(i, gone[i].c_str());
  auto answer = call.send().wait(io.waitScope);
  std::vector<std::string> untaken;
  for (auto text : answer.getUntaken()) untaken.push_back(text.cStr());
  return untaken;
}

std::vector<std::string> TestNode::checking(const std::string& network, bool repair) {
  auto call = KJ_ASSERT_NONNULL(publisher).checkRequest();
  call.setRepair(repair);
  call.setNetwork(network.c_str());
  auto answer = call.send().wait(io.waitScope);
  checked = answer.getThings();
  members.clear();
  for (auto one : answer.getMembers()) members.push_back(one.getId().cStr());
  return linesOf(answer.getFindings());
}

Layout TestNode::layout() const {
  capnp::MallocMessageBuilder message;
  NodeFacts facts;
  facts.runDir = folders->sub("run");
  facts.instance = kj::str("network.ingress");
  return layoutOf(message.initRoot<Config>().asReader(), facts);
}

size_t TestNode::files() const {
  std::filesystem::directory_iterator records(layout().records());
  return std::distance(begin(records), end(records));
}

uint64_t nftTableHandle(kj::StringPtr table) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  NetlinkMessage message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, 0, kj::str("table"));
  message.header<nfgenmsg>().nfgen_family = NFPROTO_IPV4;
  message.putText(NFTA_TABLE_NAME, table);
  uint64_t handle = 0;
  socket.find(message, [&](const nlmsghdr* answer) {
    for (auto* attribute : NetlinkAttributes(answer, sizeof(nfgenmsg))) {
      if ((attribute->nla_type & NLA_TYPE_MASK) != NFTA_TABLE_HANDLE) continue;
      memcpy(&handle, reinterpret_cast<const char*>(attribute) + NLA_HDRLEN, sizeof(handle));
    }
  });
  return handle;
}

bool isLed(const TestNode& node, const std::string& chain) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  auto chains = nftChains(socket, node.layout().table.c_str());
  return std::find(chains.begin(), chains.end(), chain) != chains.end();
}

}  // namespace orch::network::ingress
