// The state on its way from one store to another.
//
// Where it is, the stores say themselves, in place of who leads: `moved:store.etcd` and it is there
// now, `copying:` and a cluster's id while it is not yet, or will never be, complete. One that the
// state comes back to goes on to say where it is meanwhile, behind an `@`. That the
// first one is written is the one step after which the other store counts; before it, nothing has
// happened.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "orch/store-client.h"

namespace orch::control::manager {

// What a store says that the state has left, before the other one's name.
inline constexpr std::string_view MOVED = "moved:";
// The store that the state has gone to, by who leads in another one; empty: it is still there, or
// was never.
std::string movedTo(const std::string& leader);
// What a store says whose state is not complete.
bool isCopy(const std::string& leader);

class StateCopy final {
 public:
  // All outlive it. `name`: of `to`.
  StateCopy(Env& env, StoreClient& from, StoreClient& to, kj::StringPtr name);
  KJ_DISALLOW_COPY(StateCopy);

  // Makes `to` empty, unless the state of anybody else is in it: then it fails, and nothing has
  // changed. Its epochs go on after `epoch`.
  Task<void> begin(std::string cluster, uint64_t epoch);
  // What has changed in `from` since the last time, or all. Fails if `epoch` is not its epoch any
  // more.
  Task<void> catchUp(uint64_t epoch);
  // The step. `from` takes no changes any more by `epoch`, or whoever else led it. If it fails, the
  // step may have been done: `from` says so itself, to whoever wants to lead there.
  Task<void> finish(uint64_t epoch);
  // Nothing is left in `from`.
  Task<void> clear();

  uint64_t epoch() const { return toEpoch; }
  size_t objects() const { return known.size(); }

 private:
  using Name = std::pair<std::string, std::string>;  // kind and key
  struct Revisions {
    uint64_t from = 0;
    uint64_t to = 0;
    uint64_t seen = 0;  // the pass that found it
  };
  struct Change {
    Name name;
    uint64_t expected = 0;
    uint64_t from = 0;  // its revision there
    bool removes = false;
    kj::Array<kj::byte> value;
  };
  Task<void> write(StoreClient& store, StoreLimits limits, std::vector<Change> changes,
                   uint64_t epoch, bool notes);

  Env& env;
  StoreClient& from;
  StoreClient& to;
  const kj::String name;
  uint64_t toEpoch = 0;
  uint64_t leftEpoch = 0;  // of `from`, after the step
  uint64_t passes = 0;
  std::map<Name, Revisions> known;
};

}  // namespace orch::control::manager
