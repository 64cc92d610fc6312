// What is kept in ZooKeeper, and where. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/batch.h"

namespace orch::store::zookeeper {

// The nodes below a prefix:
//   state             `ID EPOCH LEADER`: who this state is, who may write, and who that is
//   head              `NUMBER REVISION FIRST SUM`: the last record, the last that was applied, from
//                     which record on none is gone, and the sum of all objects. Every commit
//                     changes it.
//   batch/NUMBER+ID   a batch that was applied as revision NUMBER; with `-`, one that never will be
//   change/NUMBER     what it changed
//   object/XX/NAME    the objects, NAME being KIND:KEY, in 256 folders by a checksum of it: no list
//                     of children outgrows what a server reads and sends at once
// In KIND, KEY and ID every byte is written as %XX that is not a letter, a digit or one of `-._`.
class Layout final {
 public:
  static constexpr uint32_t FOLDERS = 256;

  // Fails, naming the setting, unless it is a path of 2 to 128 characters as ZooKeeper takes them.
  explicit Layout(std::string prefix);

  const std::string& top() const { return prefix; }
  std::string state() const { return prefix + "/state"; }
  std::string head() const { return prefix + "/head"; }
  std::string batches() const { return prefix + "/batch"; }
  std::string changes() const { return prefix + "/change"; }
  std::string objects() const { return prefix + "/object"; }
  std::string folder(uint32_t number) const;
  std::string change(uint64_t number) const;
  std::string object(std::string_view name) const;

 private:
  std::string prefix;
};

// `KIND:KEY`, as a node's name.
std::string nameOf(std::string_view kind, std::string_view key);
struct ObjectName {
  std::string kind;
  std::string key;
};
// Nothing if the node is no object's.
std::optional<ObjectName> readName(std::string_view name);

// The node of a batch.
struct BatchRecord {
  uint64_t number = 0;
  bool applied = false;
  std::string id;

  std::string name() const;
  static std::optional<BatchRecord> read(std::string_view name);
};

// An object's value with its checksum. `name` as from nameOf.
std::string sealObject(std::string_view name, uint64_t revision, std::string_view value);
struct SealedObject {
  uint64_t revision = 0;
  std::string_view value;
};
// Nothing if it is damaged, or another object's.
std::optional<SealedObject> unsealObject(std::string_view name, std::string_view sealed);

// A batch as its record has it. Values are in it up to so many bytes; those that are not are read
// from their objects, if these have not changed since.
constexpr size_t MAX_RECORDED_BYTES = 128 << 10;
std::string sealChange(uint64_t number, schema::Batch::Reader batch);
// The record of a batch that never will be applied.
std::string sealNoChange(uint64_t number);
struct Change {
  bool applied = false;
  kj::Array<capnp::word> batch;  // a flat schema::Batch, if applied
  std::vector<bool> left;        // for each of its operations: the value is not in it
};
// Nothing if it is damaged.
std::optional<Change> unsealChange(uint64_t number, std::string_view sealed);

// The content of the node `state`.
struct Founding {
  std::string id;
  uint64_t epoch = 0;
  std::string leader;  // empty: nobody ever was

  std::string text() const;
  static std::optional<Founding> read(std::string_view text);
};

// The sum of a state: of a number for each of its objects, modulo 2^64, so that a commit knows the
// next one from the last and from what it changes. A server that lacks a change, or has one that
// never was, has objects that do not add up to it. Nothing: it is not known, of a state that an
// older version made.
using StateSum = std::optional<uint64_t>;
// What an object adds to it. `name` as from nameOf.
uint64_t weightOf(std::string_view name, uint64_t revision);
// The sum after this batch was applied as revision `number`.
StateSum sumAfter(StateSum before, uint64_t number, schema::Batch::Reader batch);

// The content of the node `head`.
struct Head {
  uint64_t number = 0;
  uint64_t revision = 0;
  uint64_t first = 1;
  StateSum sum = 0;

  std::string text() const;
  static std::optional<Head> read(std::string_view text);
};

}  // namespace orch::store::zookeeper
