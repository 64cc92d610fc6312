// Records of a store as objects of the state, and back.
#pragma once

#include <kj/function.h>

#include <string>

#include "orch/schema/store.capnp.h"
#include "state/state.h"

namespace orch::control::manager {

// As a store has it, or a backup.
struct Record {
  std::string kind;
  std::string key;
  kj::Array<kj::byte> value;
};

// What a store has, into the state. Kinds that a later version added are left alone; fails, with
// its name, for one that is no message.
void takeRecord(State& state, kj::StringPtr kind, kj::StringPtr key,
                kj::ArrayPtr<const kj::byte> value, uint64_t revision);
// A store has taken it away.
void dropRecord(State& state, kj::StringPtr kind, kj::StringPtr key, uint64_t revision);
// Fails if there is the status of something, but not the thing; or will be by these changes.
void checkComplete(const State& state);
void checkComplete(const State& state, capnp::List<schema::Op>::Reader changes);
// All that the state has.
std::vector<Record> recordsOf(const State& state);

}  // namespace orch::control::manager
