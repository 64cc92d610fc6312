#include "test-node.h"

#include <arpa/inet.h>
#include <capnp/message.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "config.capnp.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "orch/testing/test-host.h"
#include "task-end.h"

extern "C" void orch_plugin_create(orch::Env& env, orch::schema::Plugin::Client* out);

namespace orch::network::dns {

namespace {
constexpr const char* OURS = "127.0.0.11";
constexpr uint16_t DNS_PORT = 53;

bool isReady(int fd, int milliseconds) {
  pollfd wait = {fd, POLLIN, 0};
  return poll(&wait, 1, milliseconds) == 1;
}
}  // namespace

void sendFramed(int fd, const Bytes& message) {
  Bytes framed{uint8_t(message.size() >> 8), uint8_t(message.size())};
  framed.insert(framed.end(), message.begin(), message.end());
  KJ_REQUIRE(send(fd, framed.data(), framed.size(), MSG_NOSIGNAL) == ssize_t(framed.size()));
}

Bytes receiveFramed(int fd) {
  uint8_t length[2];
  if (recv(fd, length, 2, MSG_WAITALL) != 2) return {};
  Bytes message(length[0] << 8 | length[1]);
  if (recv(fd, message.data(), message.size(), MSG_WAITALL) != ssize_t(message.size())) return {};
  return message;
}

TestTask::TestTask(std::string path) : pin(kj::mv(path)) {
  // The address is what makes glibc look for addresses of its family (AI_ADDRCONFIG).
  makeNamespace(pin.c_str()).inside->run(linkUp(1), newAddress(1, *parseIpv4("10.0.1.11"), 32));
}
TestTask::~TestTask() noexcept(false) { dropPin(pin.c_str()); }

kj::AutoCloseFd TestTask::client(int type) const {
  auto fd = socketIn(pin, type == SOCK_DGRAM);
  KJ_REQUIRE(connectTo(fd, OURS, DNS_PORT) == 0);
  return fd;
}

Bytes receive(int fd) {
  Bytes message(MOST_BYTES);
  auto size = recv(fd, message.data(), message.size(), 0);
  message.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return message;
}

Bytes TestTask::ask(const Bytes& query, bool tcp) const {
  if (!tcp) {
    auto fd = client();
    if (send(fd, query.data(), query.size(), 0) != ssize_t(query.size())) return {};
    return receive(fd);
  }
  auto fd = socketIn(pin);
  if (connectTo(fd, OURS, DNS_PORT) != 0) return {};
  sendFramed(fd, query);
  return receiveFramed(fd);
}

std::string TestTask::run(const std::string& resolvConf, const std::string& command) const {
  auto line = "nsenter --net=" + pin + " unshare --mount sh -c 'mount --bind " + resolvConf +
              " /etc/resolv.conf && mount --bind /dev/null /etc/hosts && exec " + command +
              "' 2>&1";
  std::string output;
  auto* pipe = popen(line.c_str(), "re");
  KJ_REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, n);
  pclose(pipe);
  return output;
}

std::vector<std::string> TestTask::chains() const {
  std::vector<std::string> names;
  inNamespace(pin.c_str(), [&] {
    NetlinkSocket socket(NETLINK_NETFILTER);
    names = nftChains(socket, TABLE);
  });
  return names;
}

TestServer::TestServer(const std::string& address, const std::string& path)
    : udp(socketIn(path, true)), tcp(socketIn(path)) {
  auto at = socketAddressOf(address, DNS_PORT);
  int on = 1;
  for (int fd : {udp.get(), tcp.get()}) {
    KJ_SYSCALL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
    KJ_SYSCALL(bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof(at)));
  }
  int room = 1 << 22;  // for all that a test leaves there
  KJ_SYSCALL(setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)));
  KJ_SYSCALL(listen(tcp, 8));
}

Bytes TestServer::question() {
  Bytes message(MOST_BYTES);
  peer.resize(sizeof(sockaddr_in));
  socklen_t size = sizeof(sockaddr_in);
  auto* from = reinterpret_cast<sockaddr*>(peer.data());
  auto got = recvfrom(udp, message.data(), message.size(), 0, from, &size);
  message.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return message;
}

bool TestServer::wasAsked() const { return isReady(udp, 0) || isReady(tcp, 0); }

void TestServer::answer(const Bytes& message) {
  auto* to = reinterpret_cast<sockaddr*>(peer.data());
  KJ_SYSCALL(sendto(udp, message.data(), message.size(), 0, to, peer.size()));
}

Bytes TestServer::questionByTcp() {
  if (!isReady(tcp, PATIENCE_MS)) return {};
  int fd;
  KJ_SYSCALL(fd = accept4(tcp, nullptr, nullptr, SOCK_CLOEXEC));
  connection = kj::AutoCloseFd(fd);
  return receiveFramed(connection);
}

void TestServer::answerByTcp(const Bytes& message) { sendFramed(connection, message); }

TestNode::TestNode(kj::StringPtr testName)
    : files(kj::heap<testing::TestFolder>(kj::str("dns-", testName))),
      io(kj::setupAsyncIo()),
      env(newSystemEnv(io)),
      host(kj::heap<testing::TestHost>(files->sub("data"), files->sub("run"), "network.dns")) {
  std::filesystem::create_directories(files->path().cStr());
  run();
}

TestNode::~TestNode() noexcept(false) { crash(); }

std::string TestNode::sub(const std::string& name) const { return files->sub(name.c_str()).cStr(); }
const std::vector<std::string>& TestNode::logLines() const { return host->logLines(); }

void TestNode::run() {
  crash();
  auto client = schema::Plugin::Client(nullptr);
  orch_plugin_create(*env, &client);
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setResolvConf(sub("resolv.conf").c_str());
  settings.setTimeoutMs(timeoutMs);
  auto configured = host->configure(kj::mv(client), settings.asReader(), io.waitScope);
  names = host->start<schema::NameServer>(configured, "network.dns", io.waitScope);
  plugin = kj::mv(configured);
}

void TestNode::crash() {
  names = nullptr;
  plugin = nullptr;
}

void TestNode::tell(const Told& told) {
  auto call = KJ_ASSERT_NONNULL(names).updateRequest();
  write(told, call.initChange());
  call.send().wait(io.waitScope);
}

void TestNode::serve(const TestTask& task, std::vector<std::string> networks,
                     std::vector<std::string> servers, const std::string& taskId) {
  serveAt(task.path(), kj::mv(networks), kj::mv(servers), taskId);
}

void TestNode::serveAt(const std::string& path, std::vector<std::string> networks,
                       std::vector<std::string> servers, const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(names).serveRequest();
  call.setTaskId(taskId.c_str());
  call.setNamespacePath(path.c_str());
  auto ids = call.initNetworks(networks.size());
  for (size_t i = 0; i < networks.size(); ++i) ids.set(i, networks[i].c_str());
  auto list = call.initServers(servers.size());
  for (size_t i = 0; i < servers.size(); ++i) list.set(i, servers[i].c_str());
  call.setClosed(closed);
  call.send().wait(io.waitScope);
}

void TestNode::release(const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(names).releaseRequest();
  call.setTaskId(taskId.c_str());
  call.send().wait(io.waitScope);
}

void TestNode::retain(std::vector<std::string> taskIds) {
  auto call = KJ_ASSERT_NONNULL(names).retainRequest();
  auto list = call.initTaskIds(taskIds.size());
  for (size_t i = 0; i < taskIds.size(); ++i) list.set(i, taskIds[i].c_str());
  call.send().wait(io.waitScope);
}

size_t TestNode::checking(bool repair) {
  auto call = KJ_ASSERT_NONNULL(names).checkRequest();
  call.setRepair(repair);
  auto answer = call.send().wait(io.waitScope);
  size_t count = 0;
  for (auto one : answer.getFindings()) count += one.getRepaired() == repair ? 1 : 0;
  return count;
}

void TestNode::resolvConf(const std::string& text) {
  std::ofstream(sub("next")) << text;
  std::filesystem::rename(sub("next"), sub("resolv.conf"));
}

}  // namespace orch::network::dns
