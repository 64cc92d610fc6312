#include "member/rendezvous.h"

#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

using Role = schema::DiscoveryEntry::Role;
constexpr auto AGAIN = 1 * kj::SECONDS;          // after discovery has gone
constexpr auto FIND_LIMIT = 10 * kj::SECONDS;    // until somebody is named
constexpr auto OTHERS = 300 * kj::MILLISECONDS;  // for backends that are slower than the first
constexpr auto PROBE_LIMIT = 2 * kj::SECONDS;

Task<void> tryToConnect(Env& env, std::string address, bool& answers) {
  auto parsed = co_await env.network().parseAddress(kj::str(address.c_str()));
  auto connecting = parsed->connect();
  auto limited = env.timer().timeoutAfter(PROBE_LIMIT, kj::mv(connecting));
  { auto stream = co_await limited; }
  answers = true;
}

}  // namespace

std::vector<std::string> managersAmong(capnp::List<schema::DiscoveryEntry>::Reader entries,
                                       const std::string& cluster) {
  std::vector<std::string> found;
  for (auto role : {Role::MANAGER, Role::UNKNOWN}) {
    for (auto entry : entries) {
      bool other = !cluster.empty() && entry.getClusterDigest().size() > 0 &&
                   entry.getClusterDigest() != cluster;
      if (other || entry.getRole() != role || found.size() >= Rendezvous::MOST) continue;
      found.emplace_back(entry.getAddress().cStr());
    }
  }
  return found;
}

// Hands on each set of managers that there is somebody in.
class Rendezvous::Sink final : public schema::DiscoverySink::Server {
 public:
  using Use = kj::Function<void(std::vector<std::string>)>;
  // `member`: the cluster may be called otherwise by now, after another authority has taken the
  // place of the one that this node knows. TLS tells whose managers they are.
  Sink(std::string cluster, bool member, Use use)
      : cluster(std::move(cluster)), member(member), use(kj::mv(use)) {}
  kj::Promise<void> entries(EntriesContext context) override {
    auto all = context.getParams().getEntries();
    auto managers = managersAmong(all, cluster);
    if (managers.empty() && member) managers = managersAmong(all, {});
    if (!managers.empty()) use(std::move(managers));
    return kj::READY_NOW;
  }

 private:
  const std::string cluster;
  const bool member;
  Use use;
};

Rendezvous::Rendezvous(Env& env, Host& host) : env(env), host(host) {}

void Rendezvous::start(Announcement announcement) {
  own = std::move(announcement);
  running = run().promise().eagerlyEvaluate([this](kj::Exception&& exception) {
    host.log().error("trust.rendezvous-ended", {{"reason", plainText(exception)}});
  });
}

Task<void> Rendezvous::run() {
  for (;;) {
    // It fails with the service, which tells of its backends itself.
    co_await attempt(announceAndFollow());
    co_await env.timer().afterDelay(AGAIN);
  }
}

Task<void> Rendezvous::announceAndFollow() {
  auto discovery = host.service<schema::NodeDiscovery>("discovery");
  auto announce = discovery.announceRequest();
  auto entry = announce.initEntry();
  entry.setAddress(own.address.c_str());
  entry.setRole(own.role);
  entry.setClusterDigest(own.cluster.c_str());
  entry.setNodeId(own.nodeId.c_str());
  co_await announce.send().ignoreResult();
  Sink::Use suggest = [trust = host.service<schema::Trust>("trust")](auto managers) mutable {
    auto request = trust.suggestRequest();
    auto list = request.initManagers(managers.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, managers[i].c_str());
    request.send().ignoreResult().detach([](kj::Exception&&) {});
  };
  auto watch = discovery.watchRequest();
  watch.setSink(kj::heap<Sink>(own.cluster, true, kj::mv(suggest)));
  co_await watch.send().ignoreResult();
}

Task<std::vector<std::string>> Rendezvous::find(std::string cluster) {
  auto request = host.client().servicesRequest();
  request.setPrefix("discovery");
  auto there = co_await request.send();
  bool runs = false;
  for (auto name : there.getNames()) runs = runs || name == "discovery";
  if (!runs) {
    fail(
        kj::str("usage: name a manager, as in 10.0.0.1:2377, or say in the manifest where one is "
                "found, as in [node] discovery = [\"file:///etc/orch/hosts\"]"));
  }
  // With the sink, which may be called once more after this has ended.
  struct Seen final : public kj::Refcounted {
    std::vector<std::string> managers;
    kj::Own<kj::PromiseFulfiller<void>> some;
  };
  auto seen = kj::refcounted<Seen>();
  auto some = kj::newPromiseAndFulfiller<void>();
  seen->some = kj::mv(some.fulfiller);
  Sink::Use use = [seen = kj::addRef(*seen)](std::vector<std::string> managers) mutable {
    seen->managers = std::move(managers);
    seen->some->fulfill();
  };
  auto watch = host.service<schema::NodeDiscovery>("discovery").watchRequest();
  watch.setSink(kj::heap<Sink>(cluster, false, kj::mv(use)));
  auto watching = watch.send().ignoreResult().eagerlyEvaluate([](kj::Exception&&) {});
  auto patience = env.timer().afterDelay(FIND_LIMIT).then([] {
    fail(
        kj::str("discovery names no manager of this cluster; 'orch discovery ls' shows who is "
                "there; or name one: 'orch join --token TOKEN ADDRESS'"));
  });
  co_await some.promise.exclusiveJoin(kj::mv(patience));
  co_await env.timer().afterDelay(OTHERS);
  co_return co_await reachable(std::move(seen->managers));
}

// Those that take connections, in their order; all of them if none does. A range of addresses may
// hold many that are nobody's.
Task<std::vector<std::string>> Rendezvous::reachable(std::vector<std::string> managers) {
  auto answers = std::make_unique<bool[]>(managers.size());
  kj::Vector<kj::Promise<void>> probes;
  for (size_t i = 0; i < managers.size(); ++i) {
    auto probe = attempt(tryToConnect(env, managers[i], answers[i])).promise();
    probes.add(probe.ignoreResult());
  }
  auto all = kj::joinPromises(probes.releaseAsArray());
  co_await all;
  std::vector<std::string> found;
  for (size_t i = 0; i < managers.size(); ++i) {
    if (answers[i]) found.push_back(managers[i]);
  }
  co_return found.empty() ? std::move(managers) : std::move(found);
}

}  // namespace orch::control::manager
