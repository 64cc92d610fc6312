#include "driver.h"

#include <kj/debug.h>

#include <filesystem>
#include <set>

#include "lib/privilege.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "parse.h"

namespace orch::network::overlay {

namespace {

struct Found {
  ReadLegs read;
  std::vector<std::string> pins;
};

Found lookAround(const Layout& layout) {
  Found found;
  std::filesystem::create_directories(layout.pins());
  found.read = readLegs(layout.records());
  for (auto& entry : std::filesystem::directory_iterator(layout.pins())) {
    found.pins.push_back(entry.path().filename().string());
  }
  return found;
}

}  // namespace

void OverlayDriver::taskFailed(kj::Exception&& exception) {
  log.error("network.internal", {{"reason", exception.getDescription()}});
}

OverlayDriver::Network& OverlayDriver::networkOf(const std::string& id) {
  auto& network = networks[id];
  if (network.get() == nullptr) network = kj::heap<Network>();
  return *network;
}

Task<void> OverlayDriver::recover() {
  if (layout.address) host = *layout.address;
  auto looking = env.workers().run([layout = layout] { return lookAround(layout); });
  auto found = co_await looking;
  for (auto& leg : found.read.legs) {
    auto& network = networkOf(leg.network);
    network.book.plug(leg);
    network.present = true;
  }
  for (auto& pin : found.pins) networkOf(pin).present = true;
  for (auto& file : found.read.damaged) {
    log.warn("network.record-unusable", {{"file", file.c_str()}});
  }
}

Task<void> OverlayDriver::start() {
  KJ_IF_MAYBE (missing, missingPrivilege()) {
    fail(kj::str("overlay networks need root: orchd lacks ", *missing));
  }
  auto looking = env.workers().run([] { return bestBalancer(); });
  auto best = co_await looking;
  if (layout.wantedBalancer == BalancerKind::IPVS && best != BalancerKind::IPVS) {
    fail(
        kj::str("'balancer' cannot be 'ipvs': this kernel has no IPVS, or its module is not loaded "
                "(`modprobe ip_vs`); set 'auto' or 'nft'"));
  }
  layout.balancer = layout.wantedBalancer.value_or(best);
  log.info("virtual addresses are balanced", {{"by", nameOf(layout.balancer)}});
  co_await encryption.look();
  if (encryption.problem().size() > 0) {
    log.info("this host can be on no encrypted network", {{"reason", encryption.problem()}});
  }
  watching = hostRoutes.watch().promise().eagerlyEvaluate(
      [this](kj::Exception&& e) { taskFailed(kj::mv(e)); });
}

void OverlayDriver::learnAddress(Ipv4 found) {
  if (layout.address || found == 0 || found == host) return;
  host = found;
  for (auto& [id, network] : networks) network->book.startOver();
}

void OverlayDriver::forgetUnnamed(schema::NetworkChange::Reader change) {
  std::set<std::string> named;
  std::map<std::string, std::set<std::string>> peers, services;
  for (auto network : change.getNetworks()) named.insert(network.getMeta().getId().cStr());
  for (auto peer : change.getPeers()) {
    peers[peer.getNetwork().cStr()].insert(peer.getTaskId().cStr());
  }
  for (auto service : change.getServices()) {
    services[service.getNetwork().cStr()].insert(service.getServiceId().cStr());
  }
  for (auto& [id, network] : networks) {
    if (named.count(id) == 0) network->book.clear();
    for (auto& taskId : network->book.peerIds()) {
      if (peers[id].count(taskId) == 0) network->book.forgetPeer(taskId);
    }
    for (auto& serviceId : network->book.serviceIds()) {
      if (services[id].count(serviceId) == 0) network->book.forgetService(serviceId);
    }
  }
}

Task<void> OverlayDriver::update(schema::NetworkChange::Reader change) {
  // All is read before anything changes: a bad input changes nothing.
  std::vector<std::optional<NetworkFacts>> facts;
  std::vector<Peer> peers;
  std::vector<VirtualService> services;
  Ipv4 own = 0;
  for (auto network : change.getNetworks()) facts.push_back(factsOf(network));
  for (auto peer : change.getPeers()) {
    peers.push_back(peerOf(peer, layout.nodeId));
    if (peer.getNodeId() == layout.nodeId.c_str()) own = hostOf(peer.getNodeAddress());
  }
  for (auto service : change.getServices()) services.push_back(serviceOf(service));

  learnAddress(own);
  for (size_t i = 0; i < facts.size(); ++i) {
    auto id = change.getNetworks()[i].getMeta().getId();
    if (facts[i]) networkOf(id.cStr()).book.tell(*facts[i]);
  }
  for (size_t i = 0; i < peers.size(); ++i) {
    auto peer = change.getPeers()[i];
    networkOf(peer.getNetwork().cStr()).book.tellPeer(peer.getTaskId().cStr(), peers[i]);
  }
  for (size_t i = 0; i < services.size(); ++i) {
    auto service = change.getServices()[i];
    auto& book = networkOf(service.getNetwork().cStr()).book;
    book.tellService(service.getServiceId().cStr(), services[i]);
  }
  if (change.getComplete()) forgetUnnamed(change);
  for (auto peer : change.getGonePeers()) {
    networkOf(peer.getNetwork().cStr()).book.forgetPeer(peer.getId().cStr());
  }
  for (auto service : change.getGoneServices()) {
    networkOf(service.getNetwork().cStr()).book.forgetService(service.getId().cStr());
  }
  for (auto id : change.getGoneNetworks()) networkOf(id.cStr()).book.clear();
  co_await syncAll();
}

Task<void> OverlayDriver::plug(Leg leg) {
  auto id = leg.network;
  auto known = networks.find(id);
  if (known == networks.end() || !known->second->book.told()) {
    fail(kj::str("cannot join the network '", id.c_str(), "': nobody has told of it yet"));
  }
  auto& book = known->second->book;
  auto* before = book.legOf(leg.taskId);
  bool same = before != nullptr && *before == leg;
  if (same && book.isSettled(leg.taskId)) co_return;
  if (before != nullptr && !same) book.unplug(leg.taskId);
  book.plug(leg);
  auto done = co_await attempt(sync(id, leg.taskId));
  if (done.ok()) co_return;
  auto reason = kj::str(done.message());
  networkOf(id).book.unplug(leg.taskId);
  co_await attempt(sync(id));  // leaves nothing; what stays is for the next run
  fail(kj::str("cannot join the network '", id.c_str(), "': ", reason));
}

Task<void> OverlayDriver::unplug(std::string taskId, std::string id) {
  auto known = networks.find(id);
  if (known == networks.end()) co_return;
  auto& network = *known->second;
  network.book.unplug(taskId);
  if (!network.present) co_return;
  co_await sync(id);
}

Task<void> OverlayDriver::retain(std::vector<std::string> taskIds) {
  std::set<std::string> keep(taskIds.begin(), taskIds.end());
  for (auto& [id, network] : networks) {
    for (auto& taskId : network->book.taskIds()) {
      if (keep.count(taskId) == 0) {
        network->book.unplug(taskId);
      } else {
        network->book.doubt(taskId);
      }
    }
  }
  co_await syncAll();
  co_await leaveTunnel();  // of a run that had more
}

TunnelWish OverlayDriver::tunnelWish() const {
  TunnelWish wish;
  for (auto& [id, network] : networks) {
    auto& book = network->book;
    if (!book.hasLegs()) continue;
    if (!book.told() && wish.kind == TunnelWish::Kind::NONE) wish.kind = TunnelWish::Kind::KEEP;
    if (!book.isEncrypted()) continue;
    wish.kind = TunnelWish::Kind::SOME;
    wish.mtu = kj::max(wish.mtu, book.mtu());
    book.addTo(wish.peers, layout.encryptionPort);
  }
  return wish;
}

Task<void> OverlayDriver::leaveTunnel() {
  auto left = co_await attempt(encryption.settle());
  if (left.ok()) co_return;
  log.warn("network.tunnel-failed", {{"reason", left.message()}});
}

kj::Promise<void> OverlayDriver::syncAll() {
  std::vector<std::string> changed, unused;
  for (auto& [id, network] : networks) {
    if (network->book.hasLegs() || network->present) {
      // What is under way may be what the caller waits for.
      if (network->working || network->book.hasChanges()) changed.push_back(id);
    } else if (network->book.isEmpty()) {
      unused.push_back(id);
    }
  }
  for (auto& id : unused) networks.erase(id);
  kj::Vector<kj::Promise<void>> all;
  for (auto& id : changed) all.add(sync(id));
  return kj::joinPromises(all.releaseAsArray());
}

kj::Promise<void> OverlayDriver::sync(const std::string& id, const std::string& taskId) {
  auto& network = networkOf(id);
  auto pair = kj::newPromiseAndFulfiller<void>();
  network.waiters.push_back({taskId, kj::mv(pair.fulfiller)});
  network.present = true;
  if (!network.working) {
    network.working = true;
    tasks.add(work(id));
  }
  return kj::mv(pair.promise);
}

Task<void> OverlayDriver::work(std::string id) {
  auto& network = networkOf(id);  // stays while `working`
  bool again = false;
  while (again || !network.waiters.empty()) {
    auto batch = kj::mv(network.waiters);
    network.waiters.clear();
    auto outcome = co_await attempt(workOnce(id, network));
    again = false;
    for (auto& waiter : batch) {
      if (!outcome.ok()) {
        waiter.done->reject(kj::cp(outcome.error()));
        continue;
      }
      auto refused = outcome.value().find(waiter.taskId);
      if (refused == outcome.value().end()) {
        waiter.done->fulfill();
        continue;
      }
      waiter.done->reject(kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__,
                                        kj::str(refused->second.c_str())));
      outcome.value().erase(refused);
    }
    if (!outcome.ok()) continue;
    for (auto& [taskId, reason] : outcome.value()) {  // those that had a leg before
      log.warn("network.leg-lost", {{"task", taskId.c_str()}, {"reason", reason.c_str()}});
      network.book.unplug(taskId);
      again = true;
    }
  }
  network.working = false;
}

Task<std::map<std::string, std::string>> OverlayDriver::workOnce(std::string id, Network& network) {
  // Who is led into the tunnel finds its end there.
  if (network.book.isEncrypted() && network.book.hasLegs()) co_await encryption.settle();
  auto change = network.book.take(hostFor(network));
  bool last = !network.book.hasLegs();
  auto todo = [layout = layout, id, change, last, sandbox = network.sandbox]() mutable {
    Done done;
    if (last) {
      sandbox.reset();
      Sandbox::remove(layout, id, change.unplugs);
      return done;
    }
    if (!sandbox) sandbox = std::make_shared<Sandbox>(layout, id);
    done.applied = sandbox->apply(change);
    done.sandbox = std::move(sandbox);
    return done;
  };
  if (last) network.sandbox.reset();
  if (!last) network.present = true;
  auto started = kj::evalNow([&]() { return env.workers().run(kj::mv(todo)); });
  auto outcome = co_await attempt(kj::mv(started));
  if (!outcome.ok()) {
    network.book.failed(kj::mv(change));
    network.sandbox.reset();
    kj::throwFatalException(kj::mv(outcome.error()));
  }
  network.sandbox = kj::mv(outcome.value().sandbox);
  network.book.confirm(change);
  if (last) {
    network.book.startOver();
    network.present = false;
    co_await leaveTunnel();
  }
  auto& kept = outcome.value().applied.flowsKept;
  if (!kept.empty()) log.warn("network.flows-kept", {{"reason", kept.c_str()}});
  co_return kj::mv(outcome.value().applied.refused);
}

}  // namespace orch::network::overlay
