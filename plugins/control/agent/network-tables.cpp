#include "network-tables.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

#include "network-plan.h"
#include "orch/attempt.h"

namespace orch::control::agent {

namespace {
constexpr uint64_t FIRST_TELL_PAUSE_MS = 100;
constexpr uint64_t LONGEST_TELL_PAUSE_MS = 10'000;
constexpr kj::StringPtr PLAN = "plan"_kj;  // among the plugins that are told

template <typename T, typename Reader>
std::unique_ptr<capnp::MallocMessageBuilder> copyOf(Reader reader) {
  auto message = std::make_unique<capnp::MallocMessageBuilder>(reader.totalSize().wordCount + 1);
  message->setRoot(reader);
  return message;
}

template <typename T, typename Entries, typename List>
void fillThose(Entries& entries, List list) {
  uint32_t i = 0;
  for (auto& entry : entries) {
    list.setWithCaveats(i++, entry.second->template getRoot<T>().asReader());
  }
}

// Of those that changed: who is there.
template <typename Keys, typename Entries>
std::vector<const typename Entries::value_type*> thereOf(const Keys& keys, const Entries& entries) {
  std::vector<const typename Entries::value_type*> there;
  for (auto& key : keys) {
    auto found = entries.find(key);
    if (found != entries.end()) there.push_back(&*found);
  }
  return there;
}

template <typename T, typename There, typename List>
void fillThere(const There& there, List list) {
  for (uint32_t i = 0; i < list.size(); ++i) {
    list.setWithCaveats(i, there[i]->second->template getRoot<T>().asReader());
  }
}

template <typename Keys, typename Entries>
void fillGone(const Keys& keys, const Entries& entries,
              capnp::List<schema::NetworkMember>::Builder list) {
  uint32_t i = 0;
  for (auto& [network, id] : keys) {
    if (entries.count({network, id}) > 0) continue;
    list[i].setNetwork(network.c_str());
    list[i++].setId(id.c_str());
  }
}

}  // namespace

NetworkTables::NetworkTables(Env& env, Log& log, Find find)
    : env(env), log(log), find(std::move(find)), tasks(*this) {
  targets[LEGS];
  targets[NAMES];
}

void NetworkTables::keepIn(NetworkPlan& plan) {
  this->plan = plan;
  targets[PLAN];
}

void NetworkTables::goByPlan() {
  auto& left = KJ_ASSERT_NONNULL(plan);
  if (version > 0) return;
  auto words = left.take();
  if (words.empty()) return;
  log.info("no manager is there: networks are as they were told last", {{"objects", words.size()}});
  begin(true);
  for (auto& one : words) {
    capnp::FlatArrayMessageReader message(one.assignment);
    take(message.getRoot<schema::Assignment>());
  }
  end();
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
  for (auto& entry : targets) entry.second.whole = true;
}

void NetworkTables::take(schema::Assignment::Reader assignment) {
  dirty = true;
  if (assignment.isNetwork()) {
    auto network = assignment.getNetwork();
    std::string id = network.getMeta().getId().cStr();
    // One that went and came again has other members.
    bool anew = networks.count(id) == 0;
    for (auto& entry : targets) {
      bool went = !entry.second.networks.insert(id).second;
      entry.second.whole |= anew && went;
    }
    networks[id] = copyOf<schema::Network>(network);
  } else if (assignment.isPeer()) {
    auto peer = assignment.getPeer();
    Member member{peer.getNetwork().cStr(), peer.getTaskId().cStr()};
    for (auto& entry : targets) entry.second.peers.insert(member);
    peers[member] = copyOf<schema::NetworkPeer>(peer);
  } else {
    auto service = assignment.getService();
    Member member{service.getNetwork().cStr(), service.getServiceId().cStr()};
    for (auto& entry : targets) entry.second.services.insert(member);
    services[member] = copyOf<schema::NetworkService>(service);
  }
}

void NetworkTables::forget(schema::AssignedObject::Reader object) {
  dirty = true;
  std::string network = object.getNetwork().cStr();
  Member member{network, object.getId().cStr()};
  if (object.getKind() == schema::AssignedKind::PEER) {
    peers.erase(member);
    for (auto& entry : targets) entry.second.peers.insert(member);
  } else if (object.getKind() == schema::AssignedKind::SERVICE) {
    services.erase(member);
    for (auto& entry : targets) entry.second.services.insert(member);
  } else {
    auto ofIt = [&](auto& entry) { return entry.first.first == network; };
    auto inIt = [&](auto& entry) { return entry.first == network; };
    networks.erase(network);
    std::erase_if(peers, ofIt);
    std::erase_if(services, ofIt);
    for (auto& entry : targets) {
      entry.second.networks.insert(network);
      std::erase_if(entry.second.peers, inIt);
      std::erase_if(entry.second.services, inIt);
    }
  }
}

void NetworkTables::end() {
  if (std::exchange(dirty, false)) changed();
}

void NetworkTables::changed() {
  // A node that has never had anything to do with them needs no plugin for it.
  if (version == 0 && networks.empty()) {
    KJ_IF_MAYBE (left, plan) left->clear();
    return;
  }
  ++version;
  for (auto& entry : targets) tell(entry.first);
}

void NetworkTables::tell(kj::StringPtr service) {
  if (std::exchange(targets.at(service).telling, true)) return;
  tasks.add(keepTelling(service));
}

// Until it has all that there is by then.
Task<void> NetworkTables::keepTelling(kj::StringPtr service) {
  auto& target = targets.at(service);
  uint64_t pauseMs = FIRST_TELL_PAUSE_MS;
  while (target.told != version) {
    auto telling = version;
    auto told = co_await attempt(send(service));
    if (told.ok()) {
      pauseMs = FIRST_TELL_PAUSE_MS;
      if (target.whole) continue;  // it has started anew meanwhile
      target.told = telling;
      std::erase_if(target.waiters, [&](Waiter& waiter) {
        if (waiter.version > telling) return false;
        waiter.fulfiller->fulfill();
        return true;
      });
      continue;
    }
    target.whole = true;
    log.warn("agent.networks-untold, telling it again",
             {{"plugin", service}, {"reason", told.message()}});
    co_await env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
    pauseMs = kj::min(2 * pauseMs, LONGEST_TELL_PAUSE_MS);
  }
  target.telling = false;
}

kj::Promise<void> NetworkTables::send(kj::StringPtr service) {
  if (service == PLAN) {
    auto message = kj::heap<capnp::MallocMessageBuilder>();
    auto change = message->initRoot<schema::NetworkChange>();
    fill(targets.at(service), change);
    return KJ_ASSERT_NONNULL(plan).update(change.asReader()).promise().attach(kj::mv(message));
  }
  auto request = find(service).updateRequest();
  fill(targets.at(service), request.initChange());
  return request.send().ignoreResult();
}

void NetworkTables::fill(Target& target, schema::NetworkChange::Builder change) {
  if (std::exchange(target.whole, false)) {
    fillAll(change);
  } else {
    fillChanged(target, change);
  }
  target.networks.clear();
  target.peers.clear();
  target.services.clear();
}

void NetworkTables::fillAll(schema::NetworkChange::Builder change) {
  change.setComplete(true);
  fillThose<schema::Network>(networks, change.initNetworks(networks.size()));
  fillThose<schema::NetworkPeer>(peers, change.initPeers(peers.size()));
  fillThose<schema::NetworkService>(services, change.initServices(services.size()));
}

void NetworkTables::fillChanged(Target& target, schema::NetworkChange::Builder change) {
  auto told = thereOf(target.networks, networks);
  auto toldPeers = thereOf(target.peers, peers);
  auto toldServices = thereOf(target.services, services);
  fillThere<schema::Network>(told, change.initNetworks(told.size()));
  fillThere<schema::NetworkPeer>(toldPeers, change.initPeers(toldPeers.size()));
  fillThere<schema::NetworkService>(toldServices, change.initServices(toldServices.size()));
  fillGone(target.peers, peers, change.initGonePeers(target.peers.size() - toldPeers.size()));
  fillGone(target.services, services,
           change.initGoneServices(target.services.size() - toldServices.size()));
  auto gone = change.initGoneNetworks(target.networks.size() - told.size());
  uint32_t i = 0;
  for (auto& id : target.networks) {
    if (networks.count(id) == 0) gone.set(i++, id.c_str());
  }
}

kj::Promise<void> NetworkTables::known(kj::StringPtr service) {
  auto& target = targets.at(service);
  if (version > 0 && target.told == version) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  target.waiters.push_back({version, kj::mv(pair.fulfiller)});
  return kj::mv(pair.promise);
}

kj::Promise<void> NetworkTables::settled() {
  if (version == 0) return kj::READY_NOW;
  kj::Vector<kj::Promise<void>> all;
  for (auto service : {LEGS, NAMES}) all.add(known(service));
  return kj::joinPromises(all.releaseAsArray());
}

void NetworkTables::describe(ToldThings& things) const {
  for (auto& entry : networks) note(entry.second->getRoot<schema::Network>().asReader(), things);
  for (auto& entry : peers) note(entry.second->getRoot<schema::NetworkPeer>().asReader(), things);
  for (auto& entry : services) {
    note(entry.second->getRoot<schema::NetworkService>().asReader(), things);
  }
}

void NetworkTables::restarted(kj::StringPtr service) {
  auto found = targets.find(service);
  if (found == targets.end() || version == 0) return;
  found->second.told = 0;
  found->second.whole = true;
  tell(found->first);
}

}  // namespace orch::control::agent
