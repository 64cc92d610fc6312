// What all backends name together, and what is kept though it has vanished. Pure: time comes in.
#pragma once

#include <kj/array.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orch/schema/discovery.capnp.h"

namespace orch::control::discovery {

class UnionTable final {
 public:
  struct Guard {
    uint32_t oneIn = 3;         // more than one in so many is a mass loss
    int64_t graceMs = 300'000;  // for which its entries are kept
  };
  explicit UnionTable(Guard guard) : guard(guard) {}

  struct MassLoss {
    uint32_t lost = 0;  // in this answer
    uint32_t of = 0;
  };
  // All that the backend names now; nobody at all changes nothing. Answers what has newly been lost
  // and is kept, if it is too much at once.
  std::optional<MassLoss> answer(const std::string& backend,
                                 capnp::List<schema::DiscoveryEntry>::Reader entries,
                                 int64_t nowMs);
  // The backend is not in the manifest any more: its entries go at once.
  void forget(const std::string& backend);
  // Lets go of what has been kept for long enough.
  void expire(int64_t nowMs);
  std::optional<int64_t> nextExpiryMs() const;
  // Counts what changes for those who see the entries.
  uint64_t version() const { return changes; }

  // By address; each with the backends that name it, and as the one describes it that knows most.
  struct Row {
    schema::DiscoveryEntry::Reader entry;
    std::vector<std::string> backends;
    bool held = true;  // vanished from all of them
  };
  std::map<std::string, Row> rows() const;
  struct Count {
    uint32_t entries = 0;
    uint32_t held = 0;
  };
  Count countOf(const std::string& backend) const;

 private:
  struct Known {
    kj::Array<capnp::word> canonical;
    int64_t heldUntilMs = 0;  // 0: it is named
  };
  using Entries = std::map<std::string, Known>;

  Guard guard;
  uint64_t changes = 0;
  std::map<std::string, Entries> byBackend;
};

}  // namespace orch::control::discovery
