// What there is to know of a kind of object. One entry in kind.cpp is all that a new kind needs.
#pragma once

#include <tuple>

#include "orch/host.h"
#include "state/task-reader.h"

namespace capnp {
class FlatArrayMessageReader;
}

namespace orch::control::manager {

class State;

// What belongs together in a commit, in the order in which it may be committed: services before
// their tasks, requests with what they made.
using UnitKey = std::tuple<uint8_t, std::string, SlotKey>;

struct SplitWords {
  Words own;
  Words shared;
};

struct KindTraits {
  // In the store, and on the command line.
  kj::StringPtr name;
  // The record beside it with the status; empty: the kind has none.
  kj::StringPtr statusName;
  Words (*copy)(capnp::FlatArrayMessageReader& message);
  Words (*copyStatus)(capnp::FlatArrayMessageReader& message);
  // Null: it shares nothing. Else what is left of words that the store has, and what others may say
  // alike.
  SplitWords (*split)(const Snapshot& whole);
  // Null: no index but that by id. Adds the object (`sign` 1) or takes it away (-1); `whole` if it
  // is not its status alone, or what does not matter to where it stands, that changes.
  void (*index)(State& state, const Object& object, int sign, bool whole);
  // Null: it never does. Whether a change leaves it where the indexes have it.
  bool (*staysPut)(const Snapshot& before, const Snapshot& after);
  UnitKey (*unit)(const std::string& id, const Snapshot& object);
  // Tells the bus of a change. Null: nobody is told.
  void (*publish)(Host& host, const Snapshot& before, const Snapshot& after);
};

const KindTraits& traitsOf(Kind kind);
// The kind that calls itself or its status so, and which of both; null if there is none.
struct RecordKind {
  Kind kind;
  bool status;
};
kj::Maybe<RecordKind> recordNamed(kj::StringPtr name);
// Checks bytes from outside; fails if they are no message.
Words checkedWords(RecordKind record, kj::ArrayPtr<const kj::byte> bytes);

}  // namespace orch::control::manager
