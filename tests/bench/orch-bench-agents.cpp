// orch-bench-agents MANAGER TOKEN SOCKET NODES SERVICES REPLICAS [NETWORK]: what scripts/bench
// loads one manager with. With a network the tasks are on it, and on these nodes only, which have
// to be all workers but 'node2', and the services have virtual addresses. That many nodes join with
// the token, each with a certificate, a TLS connection, a session and beats of its own, and run
// nothing: a task that is assigned is said to start, and then to run. On stdout, in this order,
// each after a line was read from stdin:
//   joined SECONDS            every node has a session
//   longest MILLISECONDS      that the manager took to answer anything since the line before
//   running SECONDS MILLISECONDS
//                             so many services have so many replicas each, all of them running as
//                             the manager has it, since they were asked for; the longest answer
// It ends with its input, or when the manager ends a session.
#include <kj/async-io.h>
#include <kj/debug.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <iostream>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "kernel/trust/join.h"
#include "lib/beat.h"
#include "lib/socket-address.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::bench {
namespace {

constexpr uint32_t JOIN_AT_ONCE = 16;
constexpr kj::Duration JOIN_AGAIN = 200 * kj::MILLISECONDS;
constexpr kj::Duration LOOK_EVERY = 100 * kj::MILLISECONDS;
constexpr kj::Duration PROBE_EVERY = 2 * kj::MILLISECONDS;
constexpr kj::Duration LINK_ASKED_EVERY = 1 * kj::SECONDS;  // as kernel/trust/uplink does
constexpr auto BEAT_STEP = std::chrono::milliseconds(1);

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

kj::Own<kj::AsyncIoStream> connectTo(kj::AsyncIoContext& io, kj::StringPtr socket) {
  auto address =
      io.provider->getNetwork().parseAddress(kj::str("unix:", socket)).wait(io.waitScope);
  return address->connect().wait(io.waitScope);
}

// How long the manager takes for the shortest call that there is, from a thread of its own.
class Probe {
 public:
  explicit Probe(kj::StringPtr socket)
      : thread([this, socket = kj::str(socket)] { run(socket); }) {}
  ~Probe() {
    ending = true;
    thread.join();
  }
  // Since the last time that it was asked.
  double longestMs() { return static_cast<double>(longestUs.exchange(0)) / 1000; }

 private:
  void run(kj::StringPtr socket) {
    auto io = kj::setupAsyncIo();
    auto stream = connectTo(io, socket);
    capnp::TwoPartyClient client(*stream);
    auto gateway = client.bootstrap().castAs<schema::Gateway>();
    while (!ending) {
      auto begin = Clock::now();
      gateway.versionRequest().send().wait(io.waitScope);
      auto us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
      longestUs = std::max<int64_t>(longestUs, us);
      io.provider->getTimer().afterDelay(PROBE_EVERY).wait(io.waitScope);
    }
  }

  std::atomic<int64_t> longestUs{0};
  std::atomic<bool> ending{false};
  std::thread thread;
};

// The datagrams of all nodes, from a thread of its own: each node's once in its period.
class Beats {
 public:
  ~Beats() {
    if (!thread.joinable()) return;
    ending.set_value();
    thread.join();
  }
  void add(schema::BeatTerms::Reader terms) {
    auto address = control::SocketAddress::parse(terms.getAddress().cStr());
    KJ_REQUIRE(address.has_value(), "the manager hears no datagrams");
    to = *address;
    periodMs = terms.getPeriodMs();
    Node node{terms.getSession(), {}};
    std::copy(terms.getKey().begin(), terms.getKey().end(), node.key.begin());
    nodes.push_back(node);
  }
  void start() {
    thread = std::thread([this] { run(); });
  }

 private:
  struct Node {
    uint64_t session;
    control::BeatKey key;
  };
  void run() {
    kj::AutoCloseFd out(socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    control::BeatCodec codec;
    auto begin = Clock::now();
    auto end = ending.get_future();
    uint64_t sent = 0;
    do {
      auto due = static_cast<uint64_t>(secondsSince(begin) * 1000 / periodMs *
                                       static_cast<double>(nodes.size()));
      for (; sent < due; ++sent) {
        auto& node = nodes[sent % nodes.size()];
        auto bytes = codec.seal(node.key, {node.session, sent / nodes.size() + 1, 0});
        (void)sendto(out, bytes.data(), bytes.size(), 0, to.get(), to.size());
      }
    } while (end.wait_for(BEAT_STEP) == std::future_status::timeout);
  }

  control::SocketAddress to;
  uint32_t periodMs = 0;
  std::vector<Node> nodes;
  std::promise<void> ending;
  std::thread thread;
};

// One node: what its kernel and its agent say to a manager, and none of what they do.
class Node final : private kj::TaskSet::ErrorHandler {
 public:
  Node(Env& env, Beats& beats, uint32_t number)
      : env(env), beats(beats), number(number), tasks(*this) {}

  Task<void> begin(kj::String manager, kj::String token) {
    auto joined = co_await join(kj::str(manager), kj::mv(token));
    std::string id = trust::holderOf(joined.certificate).id;
    tls = trust::newTls(env, joined.trusted.authorities, joined.certificate, joined.key, false);
    auto stream = co_await trust::reachManager(env, *tls, kj::mv(manager));
    link = kj::heap<trust::PeerLink>(kj::mv(stream));
    auto gateway = link->bootstrap<schema::Gateway>();
    co_await gateway.servicesRequest().send().ignoreResult();
    auto find = gateway.serviceRequest();
    find.setName("dispatcher");
    auto open = find.send().getCapability().castAs<schema::Dispatcher>().openRequest();
    open.setNodeId(id.c_str());
    describe(open.initDescription());
    open.setAgent(kj::heap<Agent>(*this));
    auto answer = co_await open.send();
    session = answer.getSession();
    beats.add(answer.getBeats());
    tasks.add(askLink(gateway));
    tasks.add(beatInSession());
  }

 private:
  class Agent final : public schema::Agent::Server {
   public:
    explicit Agent(Node& node) : node(node) {}
    kj::Promise<void> assign(AssignContext context) override {
      node.take(context.getParams());
      return kj::READY_NOW;
    }
    kj::Promise<void> ping(PingContext) override { return kj::READY_NOW; }

   private:
    Node& node;
  };

  // A manager takes only so many in a second.
  Task<trust::Credentials> join(kj::String manager, kj::String token) {
    for (;;) {
      std::vector<std::string> managers{manager.cStr()};
      trust::Addresses own{"", "127.0.0.1:0"};
      auto joining = trust::joinCluster(env, kj::str(token), kj::mv(managers), kj::mv(own));
      auto joined = co_await attempt(kj::mv(joining));
      if (joined.ok()) co_return kj::mv(joined.value());
      if (!joined.message().endsWith("try again")) kj::throwFatalException(kj::mv(joined.error()));
      co_await env.timer().afterDelay(JOIN_AGAIN);
    }
  }

  void describe(schema::NodeDescription::Builder description) {
    description.setHostname(kj::str("simulated", number));
    description.setAddress(kj::str("10.211.", number / 250, ".", number % 250 + 1, ":2377"));
    description.setOs("linux");
    description.setArchitecture("x86_64");
    description.setCpuNanos(64'000'000'000);
    description.setMemoryBytes(256ull << 30);
    description.initRuntimes(1).set(0, "crun");
    auto plugins = description.initPlugins(4);
    plugins.set(0, "control.agent");
    plugins.set(1, "network.bridge");
    plugins.set(2, "network.overlay");
    plugins.set(3, "runtime.crun");
    auto pool = description.initNetworks(1)[0];
    pool.setName("bridge");
    pool.setDriver("bridge");
    pool.setTotal(1'000);
  }

  void take(schema::Agent::AssignParams::Reader params) {
    for (auto assignment : params.getAssignments()) {
      if (!assignment.isTask()) continue;
      auto task = assignment.getTask();
      std::string id = task.getMeta().getId().cStr();
      if (task.getDesired() > schema::TaskState::RUNNING) {
        dirty.insert_or_assign(id, schema::TaskState::SHUTDOWN);
      } else if (task.getDesired() == schema::TaskState::RUNNING && known.insert(id).second) {
        dirty.insert_or_assign(id, schema::TaskState::STARTING);
      }
    }
    for (auto gone : params.getGone()) known.erase(gone.getId().cStr());
    if (!dirty.empty() && !std::exchange(reporting, true)) tasks.add(report());
  }

  // As an agent does: what changes while one report is under way goes together in the next.
  Task<void> report() {
    while (!dirty.empty()) {
      auto batch = std::exchange(dirty, {});
      auto request = session.reportRequest();
      auto statuses = request.initStatuses(batch.size());
      uint32_t i = 0;
      for (auto& [id, state] : batch) {
        statuses[i].setTaskId(id.c_str());
        auto status = statuses[i++].initStatus();
        status.setState(state);
        status.setAtNs(env.nowNs());
        status.initContainer().setId(id.c_str());
        if (state == schema::TaskState::RUNNING) status.initAddresses(1).set(0, "172.30.0.2/16");
      }
      co_await request.send().ignoreResult();
      for (auto& [id, state] : batch) {
        if (state == schema::TaskState::STARTING) dirty.emplace(id, schema::TaskState::RUNNING);
      }
    }
    reporting = false;
  }

  Task<void> askLink(schema::Gateway::Client gateway) {
    for (;;) {
      co_await env.timer().afterDelay(LINK_ASKED_EVERY);
      co_await gateway.versionRequest().send().ignoreResult();
    }
  }

  Task<void> beatInSession() {
    for (;;) {
      auto answer = co_await session.heartbeatRequest().send();
      co_await env.timer().afterDelay(answer.getNextMs() * kj::MILLISECONDS);
    }
  }

  void taskFailed(kj::Exception&& exception) override {
    std::cerr << "node " << number << ": " << plainText(exception).cStr() << std::endl;
    _exit(1);
  }

  Env& env;
  Beats& beats;
  const uint32_t number;
  kj::Own<kj::TlsContext> tls;
  kj::Own<trust::PeerLink> link;
  schema::Session::Client session = nullptr;
  std::set<std::string> known;                     // tasks
  std::map<std::string, schema::TaskState> dirty;  // of tasks, to report
  bool reporting = false;
  kj::TaskSet tasks;
};

class Load {
 public:
  Load(kj::StringPtr manager, kj::StringPtr token, kj::StringPtr socket, uint32_t nodes,
       uint32_t services, uint32_t replicas, kj::StringPtr network)
      : env(newSystemEnv(io)),
        manager(kj::str(manager)),
        token(kj::str(token)),
        services(services),
        replicas(replicas),
        network(kj::str(network)),
        input(io.lowLevelProvider->wrapInputFd(STDIN_FILENO)),
        stream(connectTo(io, socket)),
        client(*stream),
        probe(socket) {
    for (uint32_t i = 0; i < nodes; ++i) all.emplace_back(*env, beats, i);
  }

  void run() {
    auto begin = Clock::now();
    kj::Vector<kj::Promise<void>> joining;
    for (uint32_t i = 0; i < JOIN_AT_ONCE; ++i) joining.add(joinNext().promise());
    kj::joinPromises(joining.releaseAsArray()).wait(io.waitScope);
    beats.start();
    awaitLine();
    std::cout << "joined " << secondsSince(begin) << std::endl;
    probe.longestMs();
    awaitLine();
    std::cout << "longest " << probe.longestMs() << std::endl;
    awaitLine();
    probe.longestMs();
    auto seconds = create();
    std::cout << "running " << seconds << " " << probe.longestMs() << std::endl;
    awaitLine();
  }

 private:
  Task<void> joinNext() {
    while (next < all.size()) {
      auto& node = all[next++];
      co_await node.begin(kj::str(manager), kj::str(token));
    }
  }

  void awaitLine() {
    char byte = 0;
    while (byte != '\n') {
      if (input->tryRead(&byte, 1, 1).wait(io.waitScope) == 0) fail(kj::str("the input has ended"));
    }
  }

  double create() {
    auto find = client.bootstrap().castAs<schema::Gateway>().serviceRequest();
    find.setName("cluster");
    auto cluster = find.send().getCapability().castAs<schema::ClusterControl>();
    auto begin = Clock::now();
    kj::Vector<kj::Promise<void>> creating;
    for (uint32_t i = 0; i < services; ++i) {
      auto request = cluster.createServiceRequest();
      request.setRequestId(kj::str("orch-bench-agents-", i));
      fillSpec(request.initSpec(), i);
      creating.add(request.send().ignoreResult());
    }
    kj::joinPromises(creating.releaseAsArray()).wait(io.waitScope);
    for (uint64_t running = 0; running < services * replicas;) {
      env->timer().afterDelay(LOOK_EVERY).wait(io.waitScope);
      auto answer = cluster.servicesRequest().send().wait(io.waitScope);
      running = 0;
      for (auto row : answer.getServices()) running += row.getRunning();
    }
    return secondsSince(begin);
  }

  void fillSpec(schema::ServiceSpec::Builder spec, uint32_t number) {
    spec.setName(kj::str("simulated", number));
    spec.getMode().initReplicated().setReplicas(replicas);
    auto digest = kj::str(kj::repeat('0', 64));
    auto task = spec.initTask();
    task.initContainer().setImage(kj::str("bench@sha256:", digest));
    spec.initEndpoint().setMode(network.size() > 0 ? schema::EndpointSpec::Mode::VIP
                                                   : schema::EndpointSpec::Mode::DNSRR);
    if (network.size() == 0) return;
    task.initNetworks(1)[0].setName(network);
    auto constraints = task.initPlacement().initConstraints(2);
    constraints.set(0, "node.role==worker");
    constraints.set(1, "node.hostname!=node2");
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env;
  kj::String manager;
  kj::String token;
  const uint32_t services;
  const uint32_t replicas;  // of each
  kj::String network;
  kj::Own<kj::AsyncInputStream> input;
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyClient client;
  Probe probe;
  Beats beats;
  std::deque<Node> all;
  size_t next = 0;
};

}  // namespace
}  // namespace orch::bench

int main(int argc, char** argv) {
  if (argc != 7 && argc != 8) {
    std::cerr << "usage: orch-bench-agents MANAGER TOKEN SOCKET NODES SERVICES REPLICAS [NETWORK]"
              << std::endl;
    return 2;
  }
  struct rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  auto done = orch::attemptNow([&] {
    orch::bench::Load load(argv[1], argv[2], argv[3], std::stoul(argv[4]), std::stoul(argv[5]),
                           std::stoul(argv[6]), argc == 8 ? argv[7] : "");
    load.run();
  });
  if (done.ok()) return 0;
  std::cerr << "orch-bench-agents: " << orch::plainText(done.error()).cStr() << std::endl;
  return 1;
}
