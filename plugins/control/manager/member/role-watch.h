// What the nodes are to be and to trust, for those who wait to hear that it is something else than
// what they are and do.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "manager.h"
#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

// On the loop. `manager` outlives it.
class RoleWatch final : public ChangeObserver {
 public:
  explicit RoleWatch(Manager& manager);

  // The role that the node was given; nothing if the state does not say.
  kj::Maybe<schema::Role> roleOf(std::string_view nodeId) const;
  // What a node says of itself; empty: nothing.
  struct Held {
    schema::Role role;
    std::string authority;  // the digest of the one that has signed its certificate
    std::string trusted;    // names all that it trusts
  };
  // Settles with its role when any of it is to be another one. Fails when somebody else leads.
  Task<schema::Role> changed(std::string nodeId, Held held);
  // Whether the node waits for that.
  bool isAsked(const std::string& nodeId);

  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void applied() override;
  void deposed() override;
  void reloaded() override;
  void silenced() override { reloaded(); }

 private:
  // As the state of that version has it.
  struct Wanted {
    uint64_t version = 0;
    std::string authority;
    std::string ofManagers;
    std::string ofWorkers;
  };
  bool refresh();
  bool isOld(const Held& held, schema::Role role);

  Manager& manager;
  Wanted wanted;
  bool clusterChanged = false;  // by what is being applied
  std::map<std::string, std::vector<kj::Own<kj::PromiseFulfiller<void>>>> waiting;  // by node
  std::vector<std::string> changedNodes;  // by what is being applied
};

}  // namespace orch::control::manager
