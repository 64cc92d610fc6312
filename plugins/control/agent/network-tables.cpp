#include "network-tables.h"

#include <kj/debug.h>

#include "orch/attempt.h"

namespace orch::control::agent {

namespace {
constexpr uint64_t FIRST_TELL_PAUSE_MS = 100;
constexpr uint64_t LONGEST_TELL_PAUSE_MS = 10'000;

template <typename T, typename Reader>
std::unique_ptr<capnp::MallocMessageBuilder> copyOf(Reader reader) {
  auto message = std::make_unique<capnp::MallocMessageBuilder>(reader.totalSize().wordCount + 1);
  message->setRoot(reader);
  return message;
}

template <typename T, typename Entries, typename List>
void fill(Entries& entries, List list) {
  uint32_t i = 0;
  for (auto& entry : entries) {
    list.setWithCaveats(i++, entry.second->template getRoot<T>().asReader());
  }
}

}  // namespace

NetworkTables::NetworkTables(Env& env, Log& log, Find find)
    : env(env), log(log), find(std::move(find)), tasks(*this) {
  targets[LEGS];
  targets[NAMES];
}

void NetworkTables::taskFailed(kj::Exception&& exception) {
  log.error("agent.networks-failed", {{"reason", plainText(exception)}});
}

void NetworkTables::begin(bool complete) {
  dirty = complete;
  if (!complete) return;
  networks.clear();
  peers.clear();
  services.clear();
}

void NetworkTables::take(schema::Assignment::Reader assignment) {
  dirty = true;
  if (assignment.isNetwork()) {
    auto network = assignment.getNetwork();
    networks[network.getMeta().getId().cStr()] = copyOf<schema::Network>(network);
  } else if (assignment.isPeer()) {
    auto peer = assignment.getPeer();
    peers[{peer.getNetwork().cStr(), peer.getTaskId().cStr()}] = copyOf<schema::NetworkPeer>(peer);
  } else {
    auto service = assignment.getService();
    services[{service.getNetwork().cStr(), service.getServiceId().cStr()}] =
        copyOf<schema::NetworkService>(service);
  }
}

void NetworkTables::forget(schema::AssignedObject::Reader object) {
  dirty = true;
  std::string network = object.getNetwork().cStr();
  std::string id = object.getId().cStr();
  if (object.getKind() == schema::AssignedKind::PEER) {
    peers.erase({network, id});
  } else if (object.getKind() == schema::AssignedKind::SERVICE) {
    services.erase({network, id});
  } else {
    networks.erase(network);
    auto ofIt = [&](auto& entry) { return entry.first.first == network; };
    std::erase_if(peers, ofIt);
    std::erase_if(services, ofIt);
  }
}

void NetworkTables::end() {
  if (std::exchange(dirty, false)) changed();
}

void NetworkTables::changed() {
  // A node that has never had anything to do with them needs no plugin for it.
  if (version == 0 && networks.empty()) return;
  ++version;
  for (auto& entry : targets) tell(entry.first);
}

void NetworkTables::tell(kj::StringPtr service) {
  auto& target = targets.at(service);
  if (target.fulfiller.get() == nullptr) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    target.fulfiller = kj::mv(pair.fulfiller);
    target.whenTold = pair.promise.fork();
  }
  if (std::exchange(target.telling, true)) return;
  tasks.add(keepTelling(service));
}

// Until it has all that there is by then.
Task<void> NetworkTables::keepTelling(kj::StringPtr service) {
  auto& target = targets.at(service);
  uint64_t pauseMs = FIRST_TELL_PAUSE_MS;
  while (target.told != version) {
    auto telling = version;
    auto told = co_await attempt(sendAll(service));
    if (told.ok()) {
      target.told = telling;
      pauseMs = FIRST_TELL_PAUSE_MS;
      continue;
    }
    log.warn("agent.networks-untold, telling it again",
             {{"plugin", service}, {"reason", told.message()}});
    co_await env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
    pauseMs = kj::min(2 * pauseMs, LONGEST_TELL_PAUSE_MS);
  }
  target.telling = false;
  auto fulfiller = kj::mv(target.fulfiller);
  fulfiller->fulfill();
}

kj::Promise<void> NetworkTables::sendAll(kj::StringPtr service) {
  auto request = find(service).updateRequest();
  auto change = request.initChange();
  change.setComplete(true);
  fill<schema::Network>(networks, change.initNetworks(networks.size()));
  fill<schema::NetworkPeer>(peers, change.initPeers(peers.size()));
  fill<schema::NetworkService>(services, change.initServices(services.size()));
  return request.send().ignoreResult();
}

kj::Promise<void> NetworkTables::known(kj::StringPtr service) {
  auto& target = targets.at(service);
  // Before the first word of a manager there is nothing to wait for but that.
  if (version == 0 || target.told != version) {
    if (target.fulfiller.get() == nullptr) {
      auto pair = kj::newPromiseAndFulfiller<void>();
      target.fulfiller = kj::mv(pair.fulfiller);
      target.whenTold = pair.promise.fork();
    }
    return target.whenTold.addBranch();
  }
  return kj::READY_NOW;
}

void NetworkTables::restarted(kj::StringPtr service) {
  auto found = targets.find(service);
  if (found == targets.end() || version == 0) return;
  found->second.told = 0;
  tell(found->first);
}

}  // namespace orch::control::agent
