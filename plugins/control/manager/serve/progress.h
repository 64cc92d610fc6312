// How far a service is, for those who wait for it: counts every change of a service, and answers
// when there is one that the caller has not seen.
#pragma once

#include <map>
#include <set>

#include "manager.h"
#include "orch/schema/cluster.capnp.h"
#include "session/sessions.h"

namespace orch::control::manager {

// `leftovers`: containers whose tasks are forgotten but whose agent has not been told yet.
void describeProgress(const View& view, std::string_view serviceId, uint32_t leftovers,
                      schema::ServiceProgress::Builder progress);
// Tasks that run on nodes that are not down.
uint32_t runningTasks(const State& state, std::string_view serviceId);

class ProgressTable final : public ChangeObserver, public GoneObserver {
 public:
  ProgressTable(Env& env, Manager& manager) : env(env), manager(manager) { manager.observe(*this); }

  // How far another authority is in the place of the cluster's has this one.
  static inline const std::string AUTHORITY;
  // Of a service by its id, and of what is on a node by that one's.
  // Settles when something about it is newer than `after`, or at the timeout.
  kj::Promise<void> changedSince(std::string serviceId, uint64_t after, uint32_t timeoutMs);
  uint64_t revisionOf(const std::string& serviceId) const;
  uint32_t leftoversOf(const std::string& serviceId) const;

  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void applied() override;
  void reloaded() override;
  void leftover(const std::string& serviceId, int32_t change) override;

 private:
  void tell(const std::string& serviceId);

  Env& env;
  Manager& manager;
  uint64_t sequence = 1;  // counted up with every change of any service
  uint64_t firstSequence = 1;
  std::map<std::string, uint64_t> newest;
  std::map<std::string, uint32_t> leftovers;
  std::set<std::string> touched;  // in the batch that is being applied
  std::map<std::string, std::vector<kj::Own<kj::PromiseFulfiller<void>>>> waiters;
  size_t waiting = 0;
};

}  // namespace orch::control::manager
