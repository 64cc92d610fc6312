#include "node-test.h"

#include <arpa/inet.h>
#include <capnp/message.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/netns.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/test-host.h"
#include "wiring.h"

extern "C" void orch_plugin_create(orch::Env& env, orch::schema::Plugin::Client* out);

namespace orch::network::bridge {

namespace {

constexpr int PATIENCE_MS = 2000;

sockaddr_in addressOf(const std::string& address, uint16_t port) {
  sockaddr_in result = {};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  KJ_REQUIRE(inet_pton(AF_INET, address.c_str(), &result.sin_addr) == 1, address.c_str());
  return result;
}

std::string textOf(const sockaddr_in& address) {
  return ipv4Text(ntohl(address.sin_addr.s_addr)).cStr();
}

void fill(capnp::List<schema::PortSpec>::Builder list, const std::vector<Port>& ports) {
  for (size_t i = 0; i < ports.size(); ++i) {
    TaskPort port{ports[i].target, ports[i].published,
                  uint8_t(ports[i].udp ? IPPROTO_UDP : IPPROTO_TCP), ports[i].host};
    port.write(list[i]);
  }
}

End endOf(schema::Endpoint::Reader endpoint) {
  End end{endpoint.getTaskId().cStr(),
          endpoint.getNamespacePath().cStr(),
          endpoint.getAddress().cStr(),
          {},
          endpoint.getActive()};
  for (auto port : endpoint.getPorts()) end.published.push_back(port.getPublished());
  return end;
}

}  // namespace

OwnNetwork::OwnNetwork() {
  int fd;
  KJ_SYSCALL(fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  before = kj::AutoCloseFd(fd);
  KJ_SYSCALL(unshare(CLONE_NEWNET));
  Rtnetlink().run(linkUp(1));
}

OwnNetwork::~OwnNetwork() noexcept(false) { KJ_SYSCALL(setns(before, CLONE_NEWNET)); }

TestNode::TestNode(kj::StringPtr testName, kj::StringPtr subnet)
    : files(kj::heap<testing::TestFolder>(kj::str("network-", testName))),
      subnet(kj::str(subnet)),
      io(kj::setupAsyncIo()),
      env(newSystemEnv(io)),
      host(kj::heap<testing::TestHost>(files->sub("data"), files->sub("run"), "network.bridge")) {}

TestNode::~TestNode() noexcept(false) {
  if (plugin == nullptr) run();
  retain({});
  stop();
  crash();
}

void TestNode::run() {
  auto client = schema::Plugin::Client(nullptr);
  orch_plugin_create(*env, &client);
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setSubnet(subnet);
  auto configured = host->configure(kj::mv(client), settings.asReader(), io.waitScope);
  driver = host->start<schema::NetworkDriver>(configured, "network.bridge", io.waitScope);
  plugin = kj::mv(configured);
}

kj::StringPtr TestNode::folder() const { return files->path(); }
const std::vector<std::string>& TestNode::logLines() const { return host->logLines(); }

void TestNode::crash() {
  driver = nullptr;
  plugin = nullptr;
}

void TestNode::stop() { KJ_ASSERT_NONNULL(plugin).stopRequest().send().wait(io.waitScope); }

kj::Promise<End> TestNode::attachLater(const std::string& taskId, std::vector<Port> ports) {
  auto call = KJ_ASSERT_NONNULL(driver).attachRequest();
  auto request = call.initRequest();
  request.setTaskId(taskId.c_str());
  request.setServiceId("service");
  fill(request.initPorts(ports.size()), ports);
  return call.send().then([](auto&& answer) { return endOf(answer.getEndpoint()); });
}

End TestNode::attach(const std::string& taskId, std::vector<Port> ports) {
  return attachLater(taskId, kj::mv(ports)).wait(io.waitScope);
}

End TestNode::attachActive(const std::string& taskId, std::vector<Port> ports) {
  auto end = attach(taskId, kj::mv(ports));
  activate(taskId);
  return end;
}

void TestNode::activate(const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(driver).activateRequest();
  call.setTaskId(taskId.c_str());
  call.send().wait(io.waitScope);
}

void TestNode::deactivate(const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(driver).deactivateRequest();
  call.setTaskId(taskId.c_str());
  call.send().wait(io.waitScope);
}

kj::Promise<void> TestNode::detachLater(const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(driver).detachRequest();
  call.setTaskId(taskId.c_str());
  return call.send().ignoreResult();
}

std::vector<End> TestNode::retain(std::vector<std::string> taskIds) {
  auto call = KJ_ASSERT_NONNULL(driver).retainRequest();
  auto list = call.initTaskIds(taskIds.size());
  for (size_t i = 0; i < taskIds.size(); ++i) list.set(i, taskIds[i].c_str());
  auto answer = call.send().wait(io.waitScope);
  std::vector<End> ends;
  for (auto endpoint : answer.getEndpoints()) ends.push_back(endOf(endpoint));
  return ends;
}

uint32_t TestNode::used() {
  return KJ_ASSERT_NONNULL(driver).infoRequest().send().wait(io.waitScope).getUsed();
}
uint32_t TestNode::total() {
  return KJ_ASSERT_NONNULL(driver).infoRequest().send().wait(io.waitScope).getTotal();
}

std::string TestNode::errorOf(kj::Function<void()> run) {
  auto outcome = attemptNow([&] { run(); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

void TestNode::waitForNoDevices() {
  int fd;
  KJ_SYSCALL(fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  kj::AutoCloseFd events(fd);
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  KJ_SYSCALL(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  for (;;) {
    if (survey(layout()).devices.empty()) return;
    pollfd wait = {fd, POLLIN, 0};
    int ready;
    KJ_SYSCALL(ready = poll(&wait, 1, 5 * PATIENCE_MS));
    KJ_REQUIRE(ready == 1, "devices of tasks are left");
    char message[32768];
    (void)recv(fd, message, sizeof(message), 0);
  }
}

Layout TestNode::layout() const {
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setSubnet(subnet);
  NodeFacts facts;
  facts.runDir = files->sub("run");
  facts.instance = kj::str("network.bridge");
  return layoutOf(settings.asReader(), facts);
}

OtherHost::OtherHost(const TestNode& node) : pin(node.folder().cStr()) {
  pin += "/other-host";
  auto other = makeNamespace(pin.c_str());
  KJ_ON_SCOPE_FAILURE(dropPin(pin.c_str()));
  VethSpec wire;
  wire.hostName = "wire";
  wire.peerName = "wire";
  wire.peerMac = macOf(*parseIpv4(OTHER_ADDRESS));
  wire.peerNamespace = other.handle;
  Rtnetlink net;
  net.run(newVeth(wire));
  net.run(newAddress(net.link("wire")->index, *parseIpv4(NODE_ADDRESS), 24));
  auto end = other.inside->link("wire")->index;
  other.inside->run(linkUp(1), linkUp(end), newAddress(end, *parseIpv4(OTHER_ADDRESS), 24));
}

OtherHost::~OtherHost() noexcept(false) { dropPin(pin.c_str()); }

kj::AutoCloseFd socketIn(const std::string& path, bool udp) {
  kj::AutoCloseFd made;
  auto make = [&] {
    int fd;
    KJ_SYSCALL(fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
    made = kj::AutoCloseFd(fd);
  };
  if (path.empty()) {
    make();
  } else {
    inNamespace(path.c_str(), make);
  }
  timeval patience = {PATIENCE_MS / 1000, 0};
  KJ_SYSCALL(setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)));
  KJ_SYSCALL(setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
  return made;
}

kj::AutoCloseFd serverIn(const std::string& path, uint16_t port, bool udp) {
  auto server = socketIn(path, udp);
  auto address = addressOf("0.0.0.0", port);
  int on = 1;
  KJ_SYSCALL(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
  KJ_SYSCALL(bind(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)), port);
  if (udp) return server;
  KJ_SYSCALL(listen(server, 100));
  return server;
}

int connectTo(int fd, const std::string& address, uint16_t port) {
  auto target = addressOf(address, port);
  return connect(fd, reinterpret_cast<sockaddr*>(&target), sizeof(target)) == 0 ? 0 : errno;
}

int readyOf(const std::vector<int>& servers) {
  std::vector<pollfd> list;
  for (int fd : servers) list.push_back({fd, POLLIN, 0});
  int ready;
  KJ_SYSCALL(ready = poll(list.data(), list.size(), PATIENCE_MS));
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].revents != 0) return i;
  }
  return -1;
}

Peer acceptFrom(int server) {
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  int fd;
  KJ_SYSCALL(fd = accept4(server, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC));
  return Peer{kj::AutoCloseFd(fd), textOf(address)};
}

bool talk(int one, int other) {
  char text[6] = {};
  if (send(one, "hello", 5, MSG_NOSIGNAL) != 5 || readyOf({other}) < 0) return false;
  if (recv(other, text, 5, 0) != 5 || std::string(text) != "hello") return false;
  if (send(other, "there", 5, MSG_NOSIGNAL) != 5 || readyOf({one}) < 0) return false;
  return recv(one, text, 5, 0) == 5 && std::string(text) == "there";
}

std::string askUdp(int client, const std::vector<int>& servers, int& turn) {
  char text[6] = {};
  turn = -1;
  if (send(client, "hello", 5, 0) != 5) return "";
  turn = readyOf(servers);
  if (turn < 0) return "";
  sockaddr_in from = {};
  socklen_t size = sizeof(from);
  auto* peer = reinterpret_cast<sockaddr*>(&from);
  if (recvfrom(servers[turn], text, 5, 0, peer, &size) != 5) return "";
  if (sendto(servers[turn], "there", 5, 0, peer, size) != 5 || readyOf({client}) < 0) return "";
  if (recv(client, text, 5, 0) != 5 || std::string(text) != "there") return "";
  return textOf(from);
}

}  // namespace orch::network::bridge
