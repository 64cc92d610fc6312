#include "host-test.h"

#include <arpa/inet.h>
#include <capnp/message.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "lib/netns.h"
#include "lib/rtnetlink.h"
#include "orch/testing/env-around.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

extern "C" void orch_plugin_create(orch::Env& env, orch::schema::Plugin::Client* out);

namespace orch::network::overlay {

namespace {

constexpr Ipv4 FIRST_HOST = 0xc0a8320a;  // 192.168.50.10
constexpr Ipv4 WAY_OUT = 0x0a090000;     // 10.9.0.0

std::string textOf(Ipv4 address) { return ipv4Text(address).cStr(); }
// While it lives, the test's thread is in the namespace at the path, and what it starts will be.
class Staying final {
 public:
  explicit Staying(const std::string& path) : before(opened("/proc/thread-self/ns/net")) {
    KJ_SYSCALL(setns(opened(path), CLONE_NEWNET));
  }
  ~Staying() noexcept(false) { KJ_SYSCALL(setns(before, CLONE_NEWNET)); }
  KJ_DISALLOW_COPY(Staying);

 private:
  static kj::AutoCloseFd opened(const std::string& path) {
    int fd;
    KJ_SYSCALL(fd = open(path.c_str(), O_RDONLY | O_CLOEXEC), path.c_str());
    return kj::AutoCloseFd(fd);
  }
  kj::AutoCloseFd before;
};

}  // namespace

// Has the plugin's work done, and what it starts run, in the host's namespace.
class OneHost::OwnEnv final : public testing::EnvAround, private Workers, private Processes {
 public:
  OwnEnv(Env& real, std::string path) : EnvAround(real), path(kj::mv(path)) {}
  Workers& workers() override { return *this; }
  Processes& processes() override { return *this; }

 private:
  kj::Promise<void> runErased(kj::Function<void()> work) override {
    return real.workers().runErased([path = path, work = kj::mv(work)]() mutable {
      inNamespace(path.c_str(), [&] { work(); });
    });
  }
  kj::Promise<kj::Own<Process>> spawn(ProcessSpec spec) override {
    kj::Vector<kj::String> argv;
    argv.add(kj::str("nsenter"));
    argv.add(kj::str("--net=", path.c_str()));
    for (auto& word : spec.argv) argv.add(kj::mv(word));
    spec.argv = kj::mv(argv);
    return real.processes().spawn(kj::mv(spec));
  }
  kj::Promise<void> whenGone(int pidfd) override { return real.processes().whenGone(pidfd); }
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

OneHost::~OneHost() noexcept(false) { dropPin(pin.c_str()); }

void OneHost::end() {
  if (plugin == nullptr) run();
  retain({});
  crash();
}

void OneHost::run(const char* balancer, const char* wireguardGo) {
  auto client = schema::Plugin::Client(nullptr);
  if (world.crashesMidway()) {
    Staying inside(pin);
    auto made = kj::heap<testing::PluginModule>(*world.env, ORCH_MODULE, world.isolation,
                                                world.io.waitScope);
    client = made->plugin();
    module = kj::mv(made);
  } else {
    orch_plugin_create(*env, &client);
  }
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setBalancer(balancer);
  settings.setWireguardGo(wireguardGo);
  auto configured = host->configure(kj::mv(client), settings.asReader(), world.io.waitScope);
  driver = host->start<schema::LegDriver>(configured, "network.overlay", world.io.waitScope);
  plugin = kj::mv(configured);
}

void OneHost::crash() {
  KJ_IF_MAYBE (process, module) (*process)->kill(world.io.waitScope);
  driver = nullptr;
  plugin = nullptr;
  module = nullptr;
}

void OneHost::untilOnly(const std::vector<std::string>& legs) {
  auto there = layout();
  std::set<std::string> records, networks, wantedRecords, wantedNetworks;
  std::map<std::string, std::set<std::string>> wantedPorts;
  for (auto& leg : legs) {
    auto network = leg.substr(0, leg.find(' ')), taskId = leg.substr(leg.find(' ') + 1);
    wantedRecords.insert(network + "@" + taskId);
    wantedNetworks.insert(network);
    wantedPorts[network].insert(Layout::portOf(taskId));
  }
  for (auto& entry : std::filesystem::directory_iterator(there.records())) {
    records.insert(entry.path().filename().string());
  }
  for (auto& entry : std::filesystem::directory_iterator(there.pins())) {
    networks.insert(entry.path().filename().string());
  }
  KJ_REQUIRE(records == wantedRecords, "other records are there than those of the legs",
             records.size(), wantedRecords.size());
  KJ_REQUIRE(networks == wantedNetworks, "other networks are there than those of the legs",
             networks.size(), wantedNetworks.size());
  auto portsOf = [&](const std::string& network) {
    std::set<std::string> ports;
    inNamespace(there.pinOf(network).c_str(), [&] {
      for (auto& link : Rtnetlink().links()) {
        if (link.name.rfind(PORT_PREFIX, 0) == 0) ports.insert(link.name);
      }
    });
    return ports;
  };
  for (auto& [network, ports] : wantedPorts) {
    auto wanted = ports;
    auto id = network;
    testing::until(*world.env, world.io.waitScope, "the ports of the legs, and no others",
                   [&] { return portsOf(id) == wanted; });
  }
}

void OneHost::tell(const News& news) { conformance::tell(world, number, news); }

void OneHost::plug(const std::string& network, const std::string& taskId,
                   const std::string& address, const std::string& device, WayOut wayOut) {
  auto call = conformance::plugCall(world, number, network, taskId, address, device);
  auto leg = call.getLeg();
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
    auto end = net.link(pair.hostName.c_str())->index;
    net.run(newAddress(end, WAY_OUT + 1, 24), newAddress(end, *parseIpv6("fd09::1"), 64));
  });
  inNamespace(path.c_str(), [&] {
    Rtnetlink net;
    auto device = net.link(WAY_OUT_DEVICE)->index;
    net.run(newAddress(device, WAY_OUT + 2, 24), linkUp(device),
            newAddress(device, *parseIpv6("fd09::2"), 64), newDefaultRoute(device, WAY_OUT + 1));
  });
}

void OneHost::unplug(const std::string& network, const std::string& taskId) {
  conformance::unplugLater(world, number, network, taskId).wait(world.io.waitScope);
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
  conformance::retain(world, number, taskIds);
}

std::vector<std::string> OneHost::routes() {
  auto answer = KJ_ASSERT_NONNULL(driver).routesRequest().send().wait(world.io.waitScope);
  std::vector<std::string> routes;
  for (auto route : answer.getRoutes()) routes.push_back(route.cStr());
  return routes;
}

std::string OneHost::key() {
  auto answer = KJ_ASSERT_NONNULL(driver).routesRequest().send().wait(world.io.waitScope);
  auto problem = answer.getEncryptionProblem();
  return problem.size() > 0 ? problem.cStr() : answer.getEncryptionKey().cStr();
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
  facts.id = kj::str(world.nodeId(number, number).c_str());
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

schema::LegDriver::Client World::driver(int host) {
  return KJ_ASSERT_NONNULL(hosts[host]->driver, "it does not run");
}

// As every test's node is called: each host knows itself by it, and the others by numbers.
std::string World::nodeId(int host, int asSeenBy) {
  return host == asSeenBy ? "testnode00000000000000000" : "node" + std::to_string(host);
}

std::string World::hostAddress(int host) { return textOf(FIRST_HOST + host); }

bool World::crashesMidway() { return isolation == testing::Isolation::PROCESS; }

World::World(kj::StringPtr testName, int count, bool ipv6)
    : World(testName, count, testing::Isolation::KERNEL, ipv6) {}

World::World(kj::StringPtr testName, int count, testing::Isolation isolation, bool ipv6)
    : LegSubject(ipv6),
      isolation(isolation),
      files(kj::heap<testing::TestFolder>(kj::str("overlay-", testName))),
      io(kj::setupAsyncIo()),
      env(newSystemEnv(io)) {
  makeNamespace(files->sub("wire")).inside->run(newBridge("wire", macOf(FIRST_HOST - 1), 1500));
  for (int number = 0; number < count; ++number) hosts.push_back(kj::heap<OneHost>(*this, number));
}

World::~World() noexcept(false) {
  for (auto& host : hosts) host->end();
  hosts.clear();
  while (!tasks.empty()) endTask(tasks.begin()->first);
  dropPin(files->sub("wire"));
}

void World::until(kj::StringPtr what, kj::Function<bool()> there) {
  testing::until(*env, io.waitScope, what, kj::mv(there));
}

void World::shareKeys() {
  for (size_t i = 0; i < hosts.size(); ++i) keys[i] = hosts[i]->key();
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

}  // namespace orch::network::overlay
