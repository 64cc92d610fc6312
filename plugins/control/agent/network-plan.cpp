#include "network-plan.h"

#include <capnp/serialize.h>

#include <set>
#include <utility>

#include "orch/durable-file.h"

namespace orch::control::agent {

namespace {

// Between two commits.
constexpr kj::Duration PAUSE = 1 * kj::SECONDS;

std::string keyOf(const char* kind, kj::StringPtr network, kj::StringPtr id = nullptr) {
  return kj::str(PLAN_PREFIX, kind, "/", network, "/", id).cStr();
}

}  // namespace

void NetworkPlan::adopt(std::vector<StoredPlan> stored) {
  for (auto& one : stored) digests[one.key] = checksumOf(one.assignment.asBytes());
  left = kj::mv(stored);
}

std::vector<StoredPlan> NetworkPlan::take() { return std::exchange(left, {}); }

kj::Promise<void> NetworkPlan::put(const std::string& key, capnp::MessageBuilder& assignment) {
  auto words = capnp::messageToFlatArray(assignment);
  auto digest = checksumOf(words.asBytes());
  auto [known, fresh] = digests.try_emplace(key, digest);
  if (!fresh && std::exchange(known->second, digest) == digest) return kj::READY_NOW;
  return store.savePlan(key, words.asBytes());
}

kj::Promise<void> NetworkPlan::erase(const std::string& key) {
  if (digests.erase(key) == 0) return kj::READY_NOW;
  return store.erase(key.c_str());
}

void NetworkPlan::clear() {
  left.clear();
  while (!digests.empty()) {
    auto key = digests.begin()->first;
    erase(key).detach([](kj::Exception&&) {});  // the next run finds it, and goes on
  }
}

// A manager has spoken: what the last run left is out of date.
Task<void> NetworkPlan::update(schema::NetworkChange::Reader change) {
  left.clear();
  kj::Vector<kj::Promise<void>> saved;
  std::set<std::string> named;
  auto keep = [&](std::string key, kj::FunctionParam<void(schema::Assignment::Builder)> fill) {
    capnp::MallocMessageBuilder message(64);
    fill(message.initRoot<schema::Assignment>());
    saved.add(put(key, message));
    named.insert(kj::mv(key));
  };
  for (auto network : change.getNetworks()) {
    keep(keyOf("network", network.getMeta().getId()), [&](auto to) { to.setNetwork(network); });
  }
  for (auto peer : change.getPeers()) {
    keep(keyOf("peer", peer.getNetwork(), peer.getTaskId()), [&](auto to) { to.setPeer(peer); });
  }
  for (auto service : change.getServices()) {
    keep(keyOf("service", service.getNetwork(), service.getServiceId()),
         [&](auto to) { to.setService(service); });
  }
  std::set<std::string> gone;
  for (auto& [key, digest] : digests) {
    if (change.getComplete() && named.count(key) == 0) gone.insert(key);
  }
  for (auto peer : change.getGonePeers())
    gone.insert(keyOf("peer", peer.getNetwork(), peer.getId()));
  for (auto service : change.getGoneServices()) {
    gone.insert(keyOf("service", service.getNetwork(), service.getId()));
  }
  for (auto id : change.getGoneNetworks()) {
    for (auto kind : {"network", "peer", "service"}) {
      auto prefix = keyOf(kind, id);
      for (auto at = digests.lower_bound(prefix); at != digests.end(); ++at) {
        if (at->first.rfind(prefix, 0) != 0) break;
        gone.insert(at->first);
      }
    }
  }
  for (auto& key : gone) saved.add(erase(key));
  auto all = kj::joinPromises(saved.releaseAsArray());
  co_await all;
  co_await env.timer().afterDelay(PAUSE);
}

}  // namespace orch::control::agent
