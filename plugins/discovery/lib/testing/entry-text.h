// For tests: entries that were read, as text.
#pragma once

#include <string>
#include <utility>

#include "orch/attempt.h"
#include "orch/schema/discovery.capnp.h"

namespace orch::discovery {

// Of all that `read` makes: "10.0.0.1:1/manager/NODE/DIGEST 10.0.0.2:1"; if it fails, why, after
// "! ".
template <typename Read>
std::string entriesText(Read&& read) {
  auto answer = attemptNow(std::forward<Read>(read));
  if (!answer.ok()) return std::string("! ") + answer.message().cStr();
  std::string all;
  auto root = answer.value()->template getRoot<schema::DiscoverySink::EntriesParams>();
  for (auto entry : root.getEntries()) {
    all += (all.empty() ? "" : " ") + std::string(entry.getAddress().cStr());
    if (entry.getRole() == schema::DiscoveryEntry::Role::MANAGER) all += "/manager";
    if (entry.hasNodeId()) all += std::string("/") + entry.getNodeId().cStr();
    if (entry.hasClusterDigest()) all += std::string("/") + entry.getClusterDigest().cStr();
  }
  return all;
}

}  // namespace orch::discovery
