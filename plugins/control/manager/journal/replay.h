// The decisions of a journal once more, by the same strategies or by another one: where would each
// task have been placed, as things stood when it was? What was decided then is what goes on from
// there, so that one decision is compared after the other.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "config.capnp.h"
#include "orch/schema/cluster.capnp.h"
#include "schedule/scheduling.h"
#include "state/state.h"

namespace orch::control::manager {

class Replay final : private ImageHolders {
 public:
  // So many tasks that would have been elsewhere are told of one by one.
  static constexpr size_t MOST_TOLD = 1'000;

  // `strategy`: a service that stands in for all others, "scheduler.binpack"; empty: each service's
  // own. `sinceNs`: what was decided before is only read.
  Replay(Env& env, Host& host, kj::StringPtr defaultStrategy, kj::StringPtr strategy,
         int64_t sinceNs);
  KJ_DISALLOW_COPY(Replay);

  // Fails if it cannot be of a journal.
  Task<void> take(JournalEntry::Reader entry);
  // The whole of a state was taken, so that decisions have one to stand on.
  bool isComplete() const { return complete; }
  void describe(schema::Replayed::Builder out) const;

 private:
  struct Count {
    uint32_t tasks = 0, same = 0, elsewhere = 0, nowhere = 0;
  };
  struct Elsewhere {
    int64_t atNs;
    std::string service;
    uint32_t slot;
    std::string node, other, reason;
  };
  using Op = std::pair<Key, Change>;

  const std::set<std::string>& nodesWith(const std::string& digest) const override;
  uint64_t versionOf(const std::string& digest) const override;
  Change changeOf(Kind kind, JournalChange::Reader change) const;
  bool wasPlaced(const Op& op) const;
  Task<void> pass(int64_t atNs);
  Task<void> decideAgain(int64_t atNs, const std::vector<Key>& placed,
                         const std::map<std::string, std::string>& chosen);
  void compare(View& view, int64_t atNs, const Key& key, const std::string& chosen);
  void applyAll(std::vector<Op> ops);
  std::string hostOf(const std::string& nodeId) const;

  Scheduling scheduling;
  const bool replaces;  // the services' own strategies
  const int64_t sinceNs;
  State state;
  std::map<std::string, std::set<std::string>> holders;  // of images, by digest
  uint64_t holderChanges = 0;
  const std::set<std::string> nobody{};
  bool complete = false;
  uint64_t revision = 0;
  std::vector<Op> pending;
  std::vector<std::string> order;  // of services that get nodes in the next pass
  uint64_t decisions = 0;
  int64_t firstNs = 0, lastNs = 0;
  std::map<std::string, Count> services;  // by name
  std::vector<Elsewhere> elsewhere;
};

}  // namespace orch::control::manager
