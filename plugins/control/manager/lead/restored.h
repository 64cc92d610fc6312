// What a backup says, until it is a cluster again; and how a store comes to have it.
#pragma once

#include <string>
#include <vector>

#include "orch/store-client.h"
#include "state/records.h"

namespace orch::control::manager {

struct Restored {
  std::string cluster;  // its id
  std::string name;
  int64_t atNs = 0;
  uint64_t epoch = 0;
  std::vector<Record> records;
  std::string authority;  // empty: nobody could join
  kj::Array<kj::byte> loginKey;

  // Fails, with its name, for what cannot be read, and unless all of it belongs together.
  void check() const;
};

// Agents drop what has a lower epoch than the last one that they heard of. Since what is known was
// known, others may have been elected, and gone on alone or been restored themselves: so it is far
// above, and not below the seconds since 1970.
inline constexpr uint64_t ELECTIONS_SINCE = 1'000'000;
inline uint64_t epochWellAfter(uint64_t known, int64_t nowNs) {
  constexpr int64_t NS_PER_SECOND = 1'000'000'000;
  return kj::max(known + ELECTIONS_SINCE, static_cast<uint64_t>(nowNs / NS_PER_SECOND));
}

// What a store says while it is being made what a backup says: nothing in it counts.
inline constexpr std::string_view RESTORING = "restoring:";

// `to`, whose epoch is `epoch`, has these and nothing else afterwards. If it fails or is ended, it
// has some of them.
Task<void> fillStore(StoreClient& to, uint64_t epoch, std::vector<Record> records);

}  // namespace orch::control::manager
