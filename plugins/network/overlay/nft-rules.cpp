#include "nft-rules.h"

#include <kj/debug.h>
#include <netinet/in.h>

#include <algorithm>
#include <iterator>
#include <numeric>

namespace orch::network::overlay {

namespace {
constexpr int32_t DSTNAT = -100;        // NF_IP_PRI_NAT_DST
constexpr int32_t SRCNAT = 100;         // NF_IP_PRI_NAT_SRC
constexpr uint32_t MOST_STAYS = 65536;  // clients of a network on one node, per virtual address

NftBytes turnKey(const AddressKind& kind, Ipv4 address, uint32_t turn) {
  return kind.key(address).mark(turn);
}
NftBytes pairOf(const AddressKind& kind, Ipv4 first, Ipv4 second) {
  auto bytes = kind.key(first);
  kind.put(bytes, second);
  return bytes;
}
// By that of IPv4, which has no characters that nft(8) does not take in a name.
kj::String chainOf(Ipv4 address) { return kj::str("vip-", ipv4Text(address)); }

// One round: each as often as its weight says, and one's turns as far from each other as can be.
// Clients that are led by their address find the same tasks, in whichever order these came.
std::vector<Ipv4> turnsOf(const Balanced& service) {
  auto backends = service.backends;
  if (service.choice.algorithm == Algorithm::SH) {
    std::sort(backends.begin(), backends.end(),
              [](auto& a, auto& b) { return a.address < b.address; });
  }
  std::vector<Ipv4> turns;
  uint32_t divisor = 0, total = 0;
  for (auto& backend : backends) {
    KJ_REQUIRE(backend.weight <= MOST_WEIGHT, backend.weight);
    divisor = std::gcd(divisor, backend.weight);
    total += backend.weight;
    if (backend.weight > 0) turns.push_back(backend.address);
  }
  if (total == divisor * turns.size()) return turns;  // as is usual, each once
  total /= divisor;
  turns.clear();
  std::vector<int64_t> waited(backends.size());
  while (turns.size() < total) {
    for (size_t i = 0; i < backends.size(); ++i) waited[i] += backends[i].weight / divisor;
    auto next = std::max_element(waited.begin(), waited.end()) - waited.begin();
    waited[next] -= total;
    turns.push_back(backends[next].address);
  }
  return turns;
}

// Clients stay with these; none where they do not stay.
std::set<Ipv4> membersOf(const Balanced& service, const std::vector<Ipv4>& turns) {
  if (service.choice.persistenceMs == 0) return {};
  return {turns.begin(), turns.end()};
}

void buildMembers(NftBatch& batch, const AddressKind& kind, Ipv4 address,
                  const std::set<Ipv4>& before, const std::set<Ipv4>& after) {
  auto key = [&](Ipv4 task) { return pairOf(kind, address, task); };
  for (auto task : before) {
    if (after.count(task) == 0) batch.deleteElement("members", key(task));
  }
  for (auto task : after) {
    if (before.count(task) == 0) batch.addElement("members", key(task));
  }
}

// Loads whose turn it is.
void loadTurn(NftRule& rule, size_t turns, Algorithm algorithm, Register into) {
  if (algorithm == Algorithm::SH) {
    rule.loadSource(into).loadHashOf(into, turns, into);
  } else {
    rule.loadNextOf(turns, into);
  }
}

void buildTurns(NftBatch& batch, const AddressKind& kind, kj::StringPtr chain, size_t turns,
                const Choice& choice) {
  const Register A0 = kind.slot(0), A1 = kind.slot(1), A2 = kind.slot(2), A3 = kind.slot(3);
  if (choice.persistenceMs > 0) {
    batch.addTimedMap("stays", {kind.type(), kind.type()}, {kind.type()}, MOST_STAYS);
    NftRule again(kind.isIpv6());
    again.loadDestination(A0).loadSource(A1).lookUp("stays", A0, A3);
    again.loadDestination(A2).in("members", A2);
    again.remember("stays", A0, A3, choice.persistenceMs).dnatTo(A3);
    batch.addRule(chain, again);
    NftRule first(kind.isIpv6());
    first.loadDestination(A2);
    loadTurn(first, turns, choice.algorithm, A3);
    first.lookUp("backends", A2, A3).loadDestination(A0).loadSource(A1).forget("stays", A0, A3);
    first.remember("stays", A0, A3, choice.persistenceMs).dnatTo(A3);
    batch.addRule(chain, first);
  }
  NftRule rule(kind.isIpv6());
  rule.loadDestination(A0);
  loadTurn(rule, turns, choice.algorithm, A1);
  rule.lookUp("backends", A0, A0).dnatTo(A0);
  batch.addRule(chain, rule);
}

bool byAddress(const Backend& left, const Backend& right) {
  return left.address != right.address ? left.address < right.address : left.weight < right.weight;
}
}  // namespace

Backends keepPlaces(Backends places, const Backends& before, const Backends& now) {
  Backends went, came;
  std::set_difference(before.begin(), before.end(), now.begin(), now.end(),
                      std::back_inserter(went), byAddress);
  std::set_difference(now.begin(), now.end(), before.begin(), before.end(),
                      std::back_inserter(came), byAddress);
  auto isFree = [&](const Backend& one) {
    return std::binary_search(went.begin(), went.end(), one, byAddress);
  };
  auto next = came.begin();
  for (size_t i = 0; !went.empty() && i < places.size(); ++i) {
    if (!isFree(places[i])) continue;
    if (next != came.end()) {
      places[i] = *next++;
      continue;
    }
    while (places.size() > i + 1 && isFree(places.back())) places.pop_back();
    places[i] = places.back();
    places.pop_back();
  }
  places.insert(places.end(), next, came.end());
  return places;
}

void buildTable(NftBatch& batch, const AddressKind& kind, const std::vector<std::string>& chains,
                const std::map<Ipv4, Balanced>& services, const std::set<Ipv4>& locals) {
  batch.addTable();
  batch.addVerdictMap("services", {kind.type()});
  batch.addMap("backends", {kind.type(), NftType::MARK}, {kind.type()});
  batch.addSet("hairpins", {kind.type(), kind.type()});
  batch.addSet("members", {kind.type(), kind.type()});
  for (auto set : {"services", "backends", "hairpins", "members"}) batch.deleteElements(set);
  std::set<std::string> left(chains.begin(), chains.end());
  for (auto& chain : left) batch.deleteRules(chain.c_str());
  left.erase("prerouting");
  left.erase("postrouting");

  batch.addChain("prerouting", {"nat", NftPoint::PREROUTING, DSTNAT});
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    NftRule rule(kind.isIpv6());
    rule.protocolIs(protocol).loadDestination(R0).obey("services", R0);
    batch.addRule("prerouting", rule);
  }
  batch.addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  NftRule hairpin(kind.isIpv6());
  hairpin.loadSource(kind.slot(0)).loadDestination(kind.slot(1)).in("hairpins", R0);
  if (kind.isIpv6()) {
    hairpin.snatTo(kind.gateway());  // the kernel might choose a virtual address
  } else {
    hairpin.masquerade();
  }
  batch.addRule("postrouting", hairpin);

  for (auto& [address, service] : services) {
    buildService(batch, kind, address, {}, service);
    if (serves(service.backends)) left.erase(chainOf(address).cStr());
  }
  for (auto local : locals) buildHairpin(batch, kind, local, true);
  for (auto& chain : left) batch.deleteChain(chain.c_str());
}

void buildService(NftBatch& batch, const AddressKind& kind, Ipv4 address, const Balanced& had,
                  const Balanced& wanted) {
  auto before = turnsOf(had), after = turnsOf(wanted);
  auto chain = chainOf(address);
  for (size_t turn = 0; turn < std::max(before.size(), after.size()); ++turn) {
    bool old = turn < before.size();
    bool now = turn < after.size();
    if (old && now && before[turn] == after[turn]) continue;
    if (old) batch.deleteElement("backends", turnKey(kind, address, turn));
    if (now) batch.addElement("backends", turnKey(kind, address, turn), kind.key(after[turn]));
  }
  buildMembers(batch, kind, address, membersOf(had, before), membersOf(wanted, after));
  if (before.size() == after.size() && had.choice == wanted.choice) return;
  if (before.empty() && after.empty()) return;
  if (before.empty()) batch.addChain(chain);
  if (after.empty()) batch.deleteElement("services", kind.key(address));
  if (!before.empty()) batch.deleteRules(chain);
  if (!after.empty()) buildTurns(batch, kind, chain, after.size(), wanted.choice);
  if (after.empty()) batch.deleteChain(chain);
  if (before.empty()) batch.addElement("services", kind.key(address), chain.asPtr());
}

void buildHairpin(NftBatch& batch, const AddressKind& kind, Ipv4 local, bool there) {
  auto key = pairOf(kind, local, local);
  if (there) {
    batch.addElement("hairpins", key);
  } else {
    batch.deleteElement("hairpins", key);
  }
}

}  // namespace orch::network::overlay
