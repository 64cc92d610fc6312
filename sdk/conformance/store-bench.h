// Short forms for the store checks: changes, answers and sinks as plain values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "orch/conformance/store-conformance.h"
#include "orch/task.h"

namespace orch::conformance {

struct Change {
  std::string kind;
  std::string key;
  uint64_t expected = 0;
  std::string value;
  bool remove = false;
};

struct Answer {
  enum { COMMITTED, REFUSED, UNKNOWN } kind;
  uint64_t revision = 0;
  std::string reason;
  uint64_t epoch = 0;
  std::vector<std::string> conflicts;
};

struct Stored {
  uint64_t revision = 0;
  std::string value;
  bool operator==(const Stored&) const = default;
};

struct State {
  uint64_t revision = 0;
  uint64_t epoch = 0;
  std::map<std::pair<std::string, std::string>, Stored> objects;
  bool operator==(const State&) const = default;
};

// What a follower was told. A fulfiller that is waited for settles when `revision` was reached.
struct Seen {
  std::vector<uint64_t> revisions;
  std::vector<std::vector<Change>> changes;
  std::vector<uint64_t> resyncs;
  uint64_t awaited = UINT64_MAX;
  kj::Own<kj::PromiseFulfiller<void>> reached;
};

// A store and the loop that it is asked on.
class Bench final {
 public:
  explicit Bench(StoreFixture& fixture);

  schema::Store::Client store;
  kj::WaitScope& waitScope;
  uint32_t maxOps = 0;
  uint64_t maxBytes = 0;

  // The state again after a restart.
  void reopen();

  kj::Promise<Answer> send(const std::string& batchId, const std::vector<Change>& changes,
                           uint64_t epoch = 0);
  Answer commit(const std::string& batchId, const std::vector<Change>& changes, uint64_t epoch = 0);
  // Fails unless it is committed; the revision.
  uint64_t mustCommit(const std::string& batchId, const std::vector<Change>& changes,
                      uint64_t epoch = 0);
  // Fails unless the objects come in order of kind and key, once each.
  State load();
  kj::Promise<State> startLoad();
  // 0 if it is not found.
  uint64_t find(const std::string& batchId);
  struct Election {
    bool won;
    uint64_t epoch;
    std::string leader;
  };
  kj::Promise<Election> elect(const std::string& candidate, uint64_t expectedEpoch,
                              uint64_t leastEpoch = 0);
  // `seen` must outlive the loop's turns until the subscription is dropped and settled.
  capnp::Capability::Client follow(uint64_t from, Seen& seen);
  // Until the follower was told of `revision`, by a change or a resync.
  void await(Seen& seen, uint64_t revision);

 private:
  void askLimits();
  StoreFixture& fixture;
};

}  // namespace orch::conformance
