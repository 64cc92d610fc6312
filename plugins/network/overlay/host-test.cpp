#include "host-test.h"

#include <arpa/inet.h>
#include <capnp/message.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "lib/netns.h"
#include "lib/rtnetlink.h"
#include "lib/testing/checked.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/env-around.h"
#include "orch/testing/test-host.h"

extern "C" void orch_plugin_create(orch::Env& env, orch::schema::Plugin::Client* out);

namespace orch::network::overlay {

namespace {

constexpr Ipv4 FIRST_HOST = 0xc0a8320a;  // 192.168.50.10
constexpr Ipv4 WAY_OUT = 0x0a090000;     // 10.9.0.0

std::string textOf(Ipv4 address) { return ipv4Text(address).cStr(); }
// As every test's node is called: each host knows itself by it, and the others by numbers.
std::string nodeIdOf(int host, int asSeenBy) {
  return host == asSeenBy ? "testnode00000000000000000" : "node" + std::to_string(host);
}

void write(const News& news, int host, schema::NetworkChange::Builder change) {
  change.setComplete(news.complete);
  auto networks = change.initNetworks(news.networks.size());
  for (size_t i = 0; i < news.networks.size(); ++i) {
    auto& net = news.networks[i];
    networks[i].initMeta().setId(net.id.c_str());
    networks[i].setName(net.id.c_str());
    networks[i].setDriver("overlay");
    networks[i].setSubnet("10.0.1.0/24");
    networks[i].setGateway("10.0.1.1");
    networks[i].setVni(net.vni);
    if (net.mtu.empty()) continue;
    auto options = networks[i].initOptions(1);
    options[0].setKey("com.docker.network.driver.mtu");
    options[0].setValue(net.mtu.c_str());
  }
  auto peers = change.initPeers(news.peers.size());
  for (size_t i = 0; i < news.peers.size(); ++i) {
    auto& mate = news.peers[i];
    peers[i].setNetwork(mate.network.c_str());
    peers[i].setTaskId(mate.taskId.c_str());
    peers[i].setServiceId(mate.service.c_str());
    peers[i].setAddress(mate.address.c_str());
    peers[i].setNodeId(nodeIdOf(mate.host, host).c_str());
    peers[i].setNodeAddress(textOf(FIRST_HOST + mate.host).c_str());
    peers[i].setServing(mate.serving);
  }
  auto services = change.initServices(news.services.size());
  for (size_t i = 0; i < news.services.size(); ++i) {
    services[i].setNetwork(news.services[i].network.c_str());
    services[i].setServiceId(news.services[i].service.c_str());
    services[i].setAddress(news.services[i].address.c_str());
    services[i].setAlgorithm(news.services[i].algorithm);
    services[i].setPersistenceMs(news.services[i].persistenceMs);
  }
  auto gone = change.initGonePeers(news.gonePeers.size());
  for (size_t i = 0; i < news.gonePeers.size(); ++i) {
    gone[i].setNetwork(news.gonePeers[i].network.c_str());
    gone[i].setId(news.gonePeers[i].taskId.c_str());
  }
  auto goneNetworks = change.initGoneNetworks(news.goneNetworks.size());
  for (size_t i = 0; i < news.goneNetworks.size(); ++i) {
    goneNetworks.set(i, news.goneNetworks[i].c_str());
  }
}

}  // namespace

// Has the plugin's work done in the host's namespace.
class OneHost::OwnEnv final : public testing::EnvAround, private Workers {
 public:
  OwnEnv(Env& real, std::string path) : EnvAround(real), path(kj::mv(path)) {}
  Workers& workers() override { return *this; }

 private:
  kj::Promise<void> runErased(kj::Function<void()> work) override {
    return real.workers().runErased([path = path, work = kj::mv(work)]() mutable {
      inNamespace(path.c_str(), [&] { work(); });
    });
  }
  std::string path;
};

OneHost::OneHost(World& world, int number) : world(world), number(number) {
  auto name = "host" + std::to_string(number);
  pin = world.folder() + "/" + name;
  auto made = makeNamespace(pin.c_str());
  VethSpec wire;
  wire.hostName = name;
  wire.peerName = "wire";
  wire.peerMac = macOf(FIRST_HOST + number);
  wire.peerNamespace = made.handle;
  inNamespace((world.folder() + "/wire").c_str(), [&] {
    Rtnetlink net;
    wire.master = net.link("wire")->index;
    net.run(newVeth(wire));
  });
  auto end = made.inside->link("wire")->index;
  made.inside->run(linkUp(LOOPBACK_INDEX), linkUp(end), newAddress(end, FIRST_HOST + number, 24));
  env = kj::heap<OwnEnv>(*world.env, pin);
  auto files = kj::str(world.folder().c_str(), "/files", number);
  host = kj::heap<testing::TestHost>(kj::str(files, "/data"), kj::str(files, "/run"),
                                     "network.overlay");
  run();
}

OneHost::~OneHost() noexcept(false) {
  if (plugin == nullptr) run();
  retain({});
  crash();
  dropPin(pin.c_str());
}

void OneHost::run(const char* balancer) {
  auto client = schema::Plugin::Client(nullptr);
  orch_plugin_create(*env, &client);
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setBalancer(balancer);
  auto configured = host->configure(kj::mv(client), settings.asReader(), world.io.waitScope);
  driver = host->start<schema::LegDriver>(configured, "network.overlay", world.io.waitScope);
  plugin = kj::mv(configured);
}

void OneHost::crash() {
  driver = nullptr;
  plugin = nullptr;
}

void OneHost::tell(const News& news) {
  auto call = KJ_ASSERT_NONNULL(driver).updateRequest();
  write(news, number, call.initChange());
  call.send().wait(world.io.waitScope);
}

void OneHost::plug(const std::string& network, const std::string& taskId,
                   const std::string& address, const std::string& device, WayOut wayOut) {
  auto call = KJ_ASSERT_NONNULL(driver).plugRequest();
  auto leg = call.initLeg();
  leg.setTaskId(taskId.c_str());
  leg.setNamespacePath(world.task(taskId).c_str());
  leg.setNetwork(network.c_str());
  leg.setAddress((address + "/24").c_str());
  leg.setDevice(device.c_str());
  leg.setClosed(wayOut != WayOut::OPEN);
  leg.setPublished(wayOut == WayOut::ANSWERS);
  call.send().wait(world.io.waitScope);
}

void OneHost::connect(const std::string& taskId) {
  auto path = world.task(taskId);
  VethSpec pair{"to-" + taskId, WAY_OUT_DEVICE, macOf(WAY_OUT + 2), 1500};
  kj::AutoCloseFd task(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  pair.peerNamespace = task;
  inside([&] {
    Rtnetlink net;
    net.run(newVeth(pair));
    net.run(newAddress(net.link(pair.hostName.c_str())->index, WAY_OUT + 1, 24));
  });
  inNamespace(path.c_str(), [&] {
    Rtnetlink net;
    auto device = net.link(WAY_OUT_DEVICE)->index;
    net.run(newAddress(device, WAY_OUT + 2, 24), linkUp(device),
            newDefaultRoute(device, WAY_OUT + 1));
  });
}

void OneHost::unplug(const std::string& network, const std::string& taskId) {
  auto call = KJ_ASSERT_NONNULL(driver).unplugRequest();
  call.setTaskId(taskId.c_str());
  call.setNetwork(network.c_str());
  call.send().wait(world.io.waitScope);
}

std::vector<std::string> OneHost::checking(const std::string& network, bool repair) {
  auto call = KJ_ASSERT_NONNULL(driver).checkRequest();
  call.setRepair(repair);
  call.setNetwork(network.c_str());
  auto answer = call.send().wait(world.io.waitScope);
  checked = answer.getThings();
  members.clear();
  for (auto one : answer.getMembers()) {
    members.push_back(kj::str(one.getNetwork(), " ", one.getId()).cStr());
  }
  return linesOf(answer.getFindings());
}

void OneHost::retain(std::vector<std::string> taskIds) {
  auto call = KJ_ASSERT_NONNULL(driver).retainRequest();
  auto list = call.initTaskIds(taskIds.size());
  for (size_t i = 0; i < taskIds.size(); ++i) list.set(i, taskIds[i].c_str());
  call.send().wait(world.io.waitScope);
}

std::vector<std::string> OneHost::routes() {
  auto answer = KJ_ASSERT_NONNULL(driver).routesRequest().send().wait(world.io.waitScope);
  std::vector<std::string> routes;
  for (auto route : answer.getRoutes()) routes.push_back(route.cStr());
  return routes;
}

void OneHost::awaitEvents(const std::string& topic, size_t count) {
  auto& timer = world.io.provider->getTimer();
  auto end = timer.now() + PATIENCE_MS * kj::MILLISECONDS;
  auto heard = [&] {
    auto& all = host->events();
    return size_t(
        std::count_if(all.begin(), all.end(), [&](auto& event) { return event.topic == topic; }));
  };
  while (heard() < count) {
    KJ_REQUIRE(timer.now() < end, "the event did not come", topic.c_str(), count);
    timer.afterDelay(10 * kj::MILLISECONDS).wait(world.io.waitScope);
  }
  KJ_REQUIRE(heard() == count, "it came too often", topic.c_str(), heard());
}

void OneHost::inside(kj::FunctionParam<void()> work) const { inNamespace(pin.c_str(), work); }
std::string OneHost::address() const { return textOf(FIRST_HOST + number); }

Layout OneHost::layout() const {
  capnp::MallocMessageBuilder message;
  NodeFacts facts;
  facts.runDir = kj::str(world.folder().c_str(), "/files", number, "/run");
  facts.instance = kj::str("network.overlay");
  auto layout = layoutOf(message.initRoot<Config>().asReader(), facts);
  layout.balancer = bestBalancer();
  return layout;
}

std::vector<std::string> OneHost::warnings() const {
  std::vector<std::string> lines;
  for (auto& line : host->logLines()) {
    if (line.rfind("info ", 0) != 0) lines.push_back(line);
  }
  return lines;
}

std::string World::folder() const { return files->path().cStr(); }

World::World(kj::StringPtr testName, int count)
    : files(kj::heap<testing::TestFolder>(kj::str("overlay-", testName))),
      io(kj::setupAsyncIo()),
      env(newSystemEnv(io)) {
  makeNamespace(files->sub("wire")).inside->run(newBridge("wire", macOf(FIRST_HOST - 1), 1500));
  for (int number = 0; number < count; ++number) hosts.push_back(kj::heap<OneHost>(*this, number));
}

World::~World() noexcept(false) {
  hosts.clear();
  while (!tasks.empty()) endTask(tasks.begin()->first);
  dropPin(files->sub("wire"));
}

void World::tellAll(const News& news) {
  for (auto& host : hosts) host->tell(news);
}

std::string World::task(const std::string& taskId) {
  auto& path = tasks[taskId];
  if (!path.empty()) return path;
  path = folder() + "/task-" + taskId;
  makeNamespace(path.c_str()).inside->run(linkUp(LOOPBACK_INDEX));
  return path;
}

void World::endTask(const std::string& taskId) {
  dropPin(tasks.at(taskId).c_str());
  tasks.erase(taskId);
}

std::string World::errorOf(kj::Function<void()> run) {
  auto outcome = attemptNow([&] { run(); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

bool reaches(const std::string& from, const std::string& to, const std::string& address) {
  auto server = serverIn(to, 80);
  auto client = socketIn(from);
  if (connectTo(client, address, 80) != 0 || readyOf({server}) != 0) return false;
  auto peer = acceptFrom(server);
  return talk(client, peer.fd);
}

}  // namespace orch::network::overlay
