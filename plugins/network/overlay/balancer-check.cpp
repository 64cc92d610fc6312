// Whether the kernel balances as it was told to.
#include <netinet/in.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "balancer.h"
#include "ipvs-rules.h"
#include "ipvs.h"
#include "lib/nft-content.h"
#include "nft-rules.h"

namespace orch::network::overlay {

namespace {

struct Wanted {
  std::map<Ipv4, Balanced> services;
  std::set<Ipv4> served, locals;
};
Wanted wantedOf(const BalancerChange& whole) {
  Wanted wanted;
  for (auto& [address, service] : whole.services) {
    if (!service) continue;
    wanted.services[address] = *service;
    if (serves(service->backends)) wanted.served.insert(address);
  }
  for (auto& [local, there] : whole.locals) {
    if (there) wanted.locals.insert(local);
  }
  return wanted;
}

kj::String weightText(uint32_t weight) { return kj::str("weight ", weight); }

kj::String schedulingText(const IpvsScheduling& scheduling) {
  auto text = kj::str(scheduling.scheduler.c_str());
  if (scheduling.persistenceS == 0) return text;
  return kj::str(text, ", persistent for ", scheduling.persistenceS, " s");
}

// A task that serves no more keeps its place, without weight.
void checkDestinations(const AddressKind& kind, kj::StringPtr service, const Backends& wanted,
                       const IpvsService* there, Findings& findings) {
  std::map<Ipv4, uint32_t> weights;
  for (auto& [address, weight] : wanted) {
    if (weight > 0) weights[address] = weight;
  }
  auto found = there == nullptr ? std::map<Ipv4, IpvsDestination>() : there->destinations;
  for (auto& [address, weight] : weights) {
    auto known = found.find(address);
    findings.compare(kj::str("IPVS task ", kind.text(address), " of ", service), weightText(weight),
                     known == found.end() ? kj::str() : weightText(known->second.weight));
  }
  for (auto& [address, destination] : found) {
    if (weights.count(address) > 0 || destination.weight == 0) continue;
    findings.compare(kj::str("IPVS task ", kind.text(address), " of ", service), "",
                     weightText(destination.weight));
  }
}

void checkIpvs(const AddressKind& kind, const Wanted& wanted, Findings& findings) {
  auto table = Ipvs(kind).table();
  for (auto address : wanted.served) {
    auto& balanced = wanted.services.at(address);
    for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
      auto service = kj::str(kind.text(address), protocol == IPPROTO_TCP ? " tcp" : " udp");
      auto known = table.find(markOf(address, protocol));
      auto* there = known == table.end() ? nullptr : &known->second;
      auto scheduling = schedulingOf(balanced);
      bool lacks = there != nullptr && there->scheduling == inTurns(balanced);
      if (lacks) scheduling = there->scheduling;
      findings.compare(kj::str("IPVS service ", service), schedulingText(scheduling),
                       there == nullptr ? kj::str() : schedulingText(there->scheduling));
      checkDestinations(kind, service, balanced.backends, there, findings);
      if (there != nullptr) table.erase(known);
    }
  }
  for (auto& [mark, service] : table) {
    checkDestinations(kind, kj::str("the mark ", mark), {}, &service, findings);
  }
}

// Who has which turn of an address is the balancer's own affair (nft-balancer.h): the tasks in the
// order of their addresses take the turns that there are.
void sortTurns(NftContent& content) {
  auto addressIn = [](const std::string& key) {  // the turn is behind it
    return key.substr(0, key.size() - NFT_PART_BYTES);
  };
  content.sets.erase("stays");  // there since somebody needed it, and empty by itself
  auto set = content.sets.find("backends");
  if (set == content.sets.end()) return;
  std::map<std::string, std::vector<std::string>> byAddress;
  for (auto& [key, task] : set->second.values) {
    byAddress[addressIn(key)].push_back(task);
  }
  for (auto& entry : byAddress) {  // the last is taken first
    std::sort(entry.second.begin(), entry.second.end(), std::greater<>());
  }
  for (auto& [key, task] : set->second.values) {
    auto& left = byAddress[addressIn(key)];
    task = std::move(left.back());
    left.pop_back();
  }
}

}  // namespace

void checkBalancer(BalancerKind kind, const AddressKind& addresses, const BalancerChange& whole,
                   Findings& findings) {
  auto wanted = wantedOf(whole);
  if (kind == BalancerKind::NFT) {
    NftBatch batch(TABLE, addresses.family());
    buildTable(batch, addresses, {}, wanted.services, wanted.locals);
    return checkTable(batch, findings, sortTurns);
  }
  checkIpvs(addresses, wanted, findings);
  NftBatch batch(ipvsTableOf(addresses), IPVS_FAMILY);
  buildIpvsTable(batch, addresses, {}, whole.gateway, wanted.served, wanted.locals);
  checkTable(batch, findings);
}

}  // namespace orch::network::overlay
