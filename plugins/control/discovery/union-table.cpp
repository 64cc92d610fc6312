#include "union-table.h"

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <set>

namespace orch::control::discovery {

namespace {

schema::DiscoveryEntry::Reader readerOf(kj::ArrayPtr<const capnp::word> canonical) {
  return capnp::readMessageUnchecked<schema::DiscoveryEntry>(canonical.begin());
}

unsigned knowledgeIn(schema::DiscoveryEntry::Reader entry) {
  return (entry.getRole() != schema::DiscoveryEntry::Role::UNKNOWN ? 1 : 0) +
         (entry.getClusterDigest().size() > 0 ? 1 : 0) + (entry.getNodeId().size() > 0 ? 1 : 0);
}

}  // namespace

std::optional<UnionTable::MassLoss> UnionTable::answer(
    const std::string& backend, capnp::List<schema::DiscoveryEntry>::Reader entries,
    int64_t nowMs) {
  if (entries.size() == 0) return std::nullopt;
  auto& known = byBackend[backend];
  auto before = known.size();
  std::set<std::string> named;
  for (auto entry : entries) named.insert(entry.getAddress().cStr());
  uint32_t lost = 0;  // in this answer
  uint32_t away = 0;  // with those that are kept since an earlier one
  for (auto& [address, one] : known) {
    if (named.count(address) > 0) continue;
    ++away;
    if (one.heldUntilMs == 0) ++lost;
  }
  bool mass = lost > 0 && uint64_t{away} * guard.oneIn > before;
  for (auto it = known.begin(); it != known.end();) {
    bool gone = it->second.heldUntilMs == 0 && named.count(it->first) == 0;
    if (gone && mass) it->second.heldUntilMs = nowMs + guard.graceMs;
    it = gone && !mass ? known.erase(it) : std::next(it);
  }
  if (lost > 0) ++changes;
  for (auto entry : entries) {
    auto canonical = capnp::canonicalize(entry);
    auto& one = known[entry.getAddress().cStr()];
    if (one.heldUntilMs == 0 && one.canonical.asPtr().asBytes() == canonical.asPtr().asBytes()) {
      continue;
    }
    one = Known{kj::mv(canonical), 0};
    ++changes;
  }
  if (!mass) return std::nullopt;
  return MassLoss{lost, static_cast<uint32_t>(before)};
}

void UnionTable::forget(const std::string& backend) {
  if (byBackend.erase(backend) > 0) ++changes;
}

void UnionTable::expire(int64_t nowMs) {
  for (auto& [name, known] : byBackend) {
    changes += std::erase_if(known, [&](auto& one) {
      return one.second.heldUntilMs != 0 && one.second.heldUntilMs <= nowMs;
    });
  }
}

std::optional<int64_t> UnionTable::nextExpiryMs() const {
  std::optional<int64_t> next;
  for (auto& [name, known] : byBackend) {
    for (auto& [address, one] : known) {
      if (one.heldUntilMs != 0 && (!next || one.heldUntilMs < *next)) next = one.heldUntilMs;
    }
  }
  return next;
}

std::map<std::string, UnionTable::Row> UnionTable::rows() const {
  std::map<std::string, Row> all;
  for (auto& [name, known] : byBackend) {
    for (auto& [address, one] : known) {
      auto entry = readerOf(one.canonical);
      auto& row = all[address];
      bool better = row.backends.empty() || knowledgeIn(entry) > knowledgeIn(row.entry);
      if (better) row.entry = entry;
      row.backends.push_back(name);
      row.held = row.held && one.heldUntilMs != 0;
    }
  }
  return all;
}

UnionTable::Count UnionTable::countOf(const std::string& backend) const {
  Count count;
  auto found = byBackend.find(backend);
  if (found == byBackend.end()) return count;
  for (auto& [address, one] : found->second) {
    ++count.entries;
    if (one.heldUntilMs != 0) ++count.held;
  }
  return count;
}

}  // namespace orch::control::discovery
