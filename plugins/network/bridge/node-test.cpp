#include "node-test.h"

#include <capnp/message.h>
#include <kj/debug.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "driver.h"
#include "lib/rtnetlink.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"
#include "wiring.h"

extern "C" void orch_plugin_create(orch::Env& env, orch::schema::Plugin::Client* out);

namespace orch::network::bridge {

namespace {

End endOf(schema::Endpoint::Reader endpoint) {
  return {endpoint.getTaskId().cStr(), endpoint.getNamespacePath().cStr(),
          endpoint.getAddress().cStr(), endpoint.getAddress6().cStr()};
}

std::string textOf(const std::set<std::string>& all) {
  std::string text;
  for (auto& one : all) text += " " + one;
  return text;
}

}  // namespace

TestNode::TestNode(kj::StringPtr testName, kj::StringPtr subnet)
    : TestNode(testName, subnet, testing::Isolation::KERNEL) {}

TestNode::TestNode(kj::StringPtr testName, kj::StringPtr subnet, testing::Isolation isolation)
    : files(kj::heap<testing::TestFolder>(kj::str("network-", testName))),
      subnet(kj::str(subnet)),
      isolation(isolation),
      io(kj::setupAsyncIo()),
      env(newSystemEnv(io)),
      time(kj::heap<testing::HeldTime>(*env, io.waitScope)),
      host(kj::heap<testing::TestHost>(files->sub("data"), files->sub("run"), "network.bridge")) {}

TestNode::~TestNode() noexcept(false) {
  if (plugin == nullptr) run();
  retain({});
  stop();
  crash();
}

void TestNode::run() {
  auto client = schema::Plugin::Client(nullptr);
  if (crashesMidway()) {
    auto made = kj::heap<testing::PluginModule>(*env, ORCH_MODULE, isolation, io.waitScope);
    client = made->plugin();
    module = kj::mv(made);
  } else {
    orch_plugin_create(*time, &client);
  }
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setSubnet(subnet);
  auto configured = host->configure(kj::mv(client), settings.asReader(), io.waitScope);
  service = host->start<schema::NetworkDriver>(configured, "network.bridge", io.waitScope);
  plugin = kj::mv(configured);
}

bool TestNode::crashesMidway() { return isolation == testing::Isolation::PROCESS; }

void TestNode::pass(kj::StringPtr what, kj::Function<bool()> reached) {
  auto looked = [&] {
    time->advance(BridgeDriver::LOOK_EVERY);
    return reached();
  };
  testing::until(*env, io.waitScope, what, looked);
}

std::vector<std::string> TestNode::events() const { return topicsOf(*host); }
kj::StringPtr TestNode::folder() const { return files->path(); }
const std::vector<std::string>& TestNode::logLines() const { return host->logLines(); }

void TestNode::crash() {
  KJ_IF_MAYBE (process, module) (*process)->kill(io.waitScope);
  service = nullptr;
  plugin = nullptr;
  module = nullptr;
}

void TestNode::stop() { KJ_ASSERT_NONNULL(plugin).stopRequest().send().wait(io.waitScope); }

kj::Promise<End> TestNode::attachLater(const std::string& taskId) {
  auto call = driver().attachRequest();
  call.setTaskId(taskId.c_str());
  return call.send().then([](auto&& answer) { return endOf(answer.getEndpoint()); });
}

kj::Promise<void> TestNode::detachLater(const std::string& taskId) {
  auto call = driver().detachRequest();
  call.setTaskId(taskId.c_str());
  return call.send().ignoreResult();
}

std::vector<End> TestNode::retain(std::vector<std::string> taskIds) {
  auto call = driver().retainRequest();
  auto list = call.initTaskIds(taskIds.size());
  for (size_t i = 0; i < taskIds.size(); ++i) list.set(i, taskIds[i].c_str());
  auto answer = call.send().wait(io.waitScope);
  std::vector<End> ends;
  for (auto endpoint : answer.getEndpoints()) ends.push_back(endOf(endpoint));
  return ends;
}

uint32_t TestNode::used() { return driver().infoRequest().send().wait(io.waitScope).getUsed(); }
uint32_t TestNode::total() { return driver().infoRequest().send().wait(io.waitScope).getTotal(); }

std::vector<std::string> TestNode::checking(bool repair) {
  auto call = driver().checkRequest();
  call.setRepair(repair);
  auto answer = call.send().wait(io.waitScope);
  members.clear();
  for (auto one : answer.getMembers()) {
    members.push_back(kj::str(one.getNetwork(), " ", one.getId()).cStr());
  }
  return linesOf(answer.getFindings());
}

void TestNode::untilOnly(const std::vector<std::string>& taskIds) {
  auto there = layout();
  std::set<std::string> wanted(taskIds.begin(), taskIds.end());
  for (auto& folder : {there.pins(), there.records()}) {
    std::set<std::string> files;
    for (auto& entry : std::filesystem::directory_iterator(folder)) {
      files.insert(entry.path().filename().string());
    }
    KJ_REQUIRE(files == wanted, "there are other files than those of the tasks",
               textOf(files).c_str(), textOf(wanted).c_str());
  }
  std::vector<std::string> devices;
  for (auto& taskId : wanted) devices.push_back(there.deviceOf(taskId));
  untilDevices(devices);
  auto neighbours = Rtnetlink().permanentNeighbours().size();
  KJ_REQUIRE(neighbours == wanted.size(), "neighbours that no task has", neighbours);
}

void TestNode::untilDevices(const std::vector<std::string>& wanted) {
  int fd;
  KJ_SYSCALL(fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  kj::AutoCloseFd events(fd);
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  KJ_SYSCALL(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  for (;;) {
    auto devices = survey(layout()).devices;
    if (std::set(devices.begin(), devices.end()) == std::set(wanted.begin(), wanted.end())) return;
    pollfd wait = {fd, POLLIN, 0};
    int ready;
    KJ_SYSCALL(ready = poll(&wait, 1, 5 * PATIENCE_MS));
    KJ_REQUIRE(ready == 1, "other devices are there than those of the tasks", devices.size(),
               wanted.size());
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

}  // namespace orch::network::bridge
