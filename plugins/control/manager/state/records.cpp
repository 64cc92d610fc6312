#include "state/records.h"

#include <set>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

kj::Array<kj::byte> recordBytes(const Words& words) { return kj::heapArray(words.asBytes()); }

// With what it shares with others in memory.
Words wholeTask(const Object& object) {
  TaskReader task(object);
  capnp::MallocMessageBuilder message;
  message.setRoot(task.record());
  task.fillShared(message.getRoot<schema::Task>());
  return toWords(message.getRoot<schema::Task>().asReader());
}

void failForStatus(kj::StringPtr kind, kj::StringPtr key) {
  fail(kj::str("cannot read ", kind, " '", key,
               "' of the cluster's state: there is its status, but not the object"));
}

}  // namespace

void takeRecord(State& state, kj::StringPtr kind, kj::StringPtr key,
                kj::ArrayPtr<const kj::byte> value, uint64_t revision) {
  KJ_IF_MAYBE (record, recordNamed(kind)) {
    auto words = attemptNow([&] { return checkedWords(*record, value); });
    if (!words.ok()) {
      fail(kj::str("cannot read ", kind, " '", key, "' of the cluster's state: ", words.message()));
    }
    Change change;
    (record->status ? change.status : change.words) = kj::mv(words.value());
    state.apply(Key{record->kind, key.cStr()}, kj::mv(change), revision);
  }
}

// Its status goes with it.
void dropRecord(State& state, kj::StringPtr kind, kj::StringPtr key, uint64_t revision) {
  KJ_IF_MAYBE (record, recordNamed(kind)) {
    if (!record->status) state.apply(Key{record->kind, key.cStr()}, Change(), revision);
  }
}

void checkComplete(const State& state) {
  for (size_t i = 0; i < KINDS; ++i) {
    auto kind = static_cast<Kind>(i);
    if (traitsOf(kind).statusName.size() == 0) continue;
    for (auto& entry : state.all(kind)) {
      if (entry.second.words.size() > 0) continue;
      failForStatus(traitsOf(kind).name, entry.first.c_str());
    }
  }
}

void checkComplete(const State& state, capnp::List<schema::Op>::Reader changes) {
  std::set<Key> made;
  for (auto op : changes) {
    KJ_IF_MAYBE (record, recordNamed(op.getKind())) {
      if (op.isPut() && !record->status) made.insert(Key{record->kind, op.getKey().cStr()});
    }
  }
  for (auto op : changes) {
    KJ_IF_MAYBE (record, recordNamed(op.getKind())) {
      Key key{record->kind, op.getKey().cStr()};
      bool there = made.count(key) > 0 || state.find(key.kind, key.id) != nullptr;
      if (op.isPut() && record->status && !there) failForStatus(op.getKind(), op.getKey());
    }
  }
}

std::vector<Record> recordsOf(const State& state) {
  std::vector<Record> records;
  for (size_t i = 0; i < KINDS; ++i) {
    auto kind = static_cast<Kind>(i);
    auto& traits = traitsOf(kind);
    for (auto& [id, object] : state.all(kind)) {
      auto whole = kind == Kind::TASK ? recordBytes(wholeTask(object)) : recordBytes(object.words);
      records.push_back({traits.name.cStr(), id, kj::mv(whole)});
      if (object.status.size() == 0) continue;
      records.push_back({traits.statusName.cStr(), id, recordBytes(object.status)});
    }
  }
  return records;
}

}  // namespace orch::control::manager
