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

NftBytes keyOf(Ipv4 address) {
  NftBytes bytes;
  bytes.address(address);
  return bytes;
}
NftBytes turnKey(Ipv4 address, uint32_t turn) { return keyOf(address).mark(turn); }
kj::String chainOf(Ipv4 address) { return kj::str("vip-", ipv4Text(address)); }

// One round: each as often as its weight says, and one's turns as far from each other as can be.
std::vector<Ipv4> turnsOf(const Backends& backends) {
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

void buildMembers(NftBatch& batch, Ipv4 address, const std::set<Ipv4>& before,
                  const std::set<Ipv4>& after) {
  auto key = [&](Ipv4 task) { return kj::mv(keyOf(address).address(task)); };
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

void buildTurns(NftBatch& batch, kj::StringPtr chain, size_t turns, const Choice& choice) {
  if (choice.persistenceMs > 0) {
    batch.addTimedMap("stays", {NftType::ADDRESS, NftType::ADDRESS}, {NftType::ADDRESS},
                      MOST_STAYS);
    NftRule again;
    again.loadDestination(R0).loadSource(R1).lookUp("stays", R0, R3);
    again.loadDestination(R2).in("members", R2);
    again.remember("stays", R0, R3, choice.persistenceMs).dnatTo(R3);
    batch.addRule(chain, again);
    NftRule first;
    first.loadDestination(R2);
    loadTurn(first, turns, choice.algorithm, R3);
    first.lookUp("backends", R2, R3).loadDestination(R0).loadSource(R1).forget("stays", R0, R3);
    first.remember("stays", R0, R3, choice.persistenceMs).dnatTo(R3);
    batch.addRule(chain, first);
  }
  NftRule rule;
  rule.loadDestination(R0);
  loadTurn(rule, turns, choice.algorithm, R1);
  rule.lookUp("backends", R0, R0).dnatTo(R0);
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

void buildTable(NftBatch& batch, const std::vector<std::string>& chains,
                const std::map<Ipv4, Balanced>& services, const std::set<Ipv4>& locals) {
  batch.addTable();
  batch.addVerdictMap("services", {NftType::ADDRESS});
  batch.addMap("backends", {NftType::ADDRESS, NftType::MARK}, {NftType::ADDRESS});
  batch.addSet("hairpins", {NftType::ADDRESS, NftType::ADDRESS});
  batch.addSet("members", {NftType::ADDRESS, NftType::ADDRESS});
  for (auto set : {"services", "backends", "hairpins", "members"}) batch.deleteElements(set);
  std::set<std::string> left(chains.begin(), chains.end());
  for (auto& chain : left) batch.deleteRules(chain.c_str());
  left.erase("prerouting");
  left.erase("postrouting");

  batch.addChain("prerouting", {"nat", NftPoint::PREROUTING, DSTNAT});
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    NftRule rule;
    rule.protocolIs(protocol).loadDestination(R0).obey("services", R0);
    batch.addRule("prerouting", rule);
  }
  batch.addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  NftRule hairpin;
  hairpin.loadSource(R0).loadDestination(R1).in("hairpins", R0).masquerade();
  batch.addRule("postrouting", hairpin);

  for (auto& [address, service] : services) {
    buildService(batch, address, {}, service);
    if (serves(service.backends)) left.erase(chainOf(address).cStr());
  }
  for (auto local : locals) buildHairpin(batch, local, true);
  for (auto& chain : left) batch.deleteChain(chain.c_str());
}

void buildService(NftBatch& batch, Ipv4 address, const Balanced& had, const Balanced& wanted) {
  auto before = turnsOf(had.backends), after = turnsOf(wanted.backends);
  auto chain = chainOf(address);
  for (size_t turn = 0; turn < std::max(before.size(), after.size()); ++turn) {
    bool old = turn < before.size();
    bool now = turn < after.size();
    if (old && now && before[turn] == after[turn]) continue;
    if (old) batch.deleteElement("backends", turnKey(address, turn));
    if (now) batch.addElement("backends", turnKey(address, turn), keyOf(after[turn]));
  }
  buildMembers(batch, address, membersOf(had, before), membersOf(wanted, after));
  if (before.size() == after.size() && had.choice == wanted.choice) return;
  if (before.empty() && after.empty()) return;
  if (before.empty()) batch.addChain(chain);
  if (after.empty()) batch.deleteElement("services", keyOf(address));
  if (!before.empty()) batch.deleteRules(chain);
  if (!after.empty()) buildTurns(batch, chain, after.size(), wanted.choice);
  if (after.empty()) batch.deleteChain(chain);
  if (before.empty()) batch.addElement("services", keyOf(address), chain.asPtr());
}

void buildHairpin(NftBatch& batch, Ipv4 local, bool there) {
  auto key = keyOf(local).address(local);
  if (there) {
    batch.addElement("hairpins", key);
  } else {
    batch.deleteElement("hairpins", key);
  }
}

}  // namespace orch::network::overlay
