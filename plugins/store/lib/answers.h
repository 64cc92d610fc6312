// Answers of the kind `store` as plain values, and as what is sent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "orch/schema/store.capnp.h"

namespace orch::store {

struct CommitAnswer {
  enum class Kind { COMMITTED, REFUSED, UNKNOWN };
  Kind kind = Kind::UNKNOWN;
  uint64_t revision = 0;  // if committed
  std::string reason;     // if not
  uint64_t epoch = 0;     // the store's, if refused
  std::vector<std::string> conflicts;
};
void fill(schema::CommitResult::Builder result, const CommitAnswer& answer);

struct ElectAnswer {
  bool won = false;
  uint64_t epoch = 0;
  std::string leader;
};
void fill(schema::Store::ElectResults::Builder results, const ElectAnswer& answer);
// Of a batch that was applied.
void fill(schema::Store::FindResults::Builder results, std::optional<uint64_t> revision);

// Fails for one without a name.
std::string candidateOf(schema::Store::ElectParams::Reader params);

}  // namespace orch::store
