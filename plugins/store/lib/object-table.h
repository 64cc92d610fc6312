// The objects of a state that is read bit by bit while others write.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "orch/schema/store.capnp.h"
#include "orch/task.h"

namespace orch::store {

struct StoredValue {
  uint64_t revision = 0;
  std::string value;
};

class ObjectTable final {
 public:
  using Name = std::pair<std::string, std::string>;  // kind and key

  // Unless it is there as it was later.
  void put(Name name, StoredValue value);
  // As of that revision.
  void erase(const Name& name, uint64_t revision);
  // It is there, as it was then or later.
  bool has(const Name& name, uint64_t revision) const;
  // Of all that were put.
  uint64_t newest() const { return newestRevision; }
  auto begin() const { return objects.begin(); }
  auto end() const { return objects.end(); }
  // All of them in order, in pieces that keep the loop for some milliseconds; nothing is left here.
  Task<void> deliver(schema::ObjectSink::Client sink);

 private:
  std::map<Name, StoredValue> objects;
  uint64_t newestRevision = 0;
};

}  // namespace orch::store
