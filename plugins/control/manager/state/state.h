// The whole state of the cluster in memory, as the store has it, with the indexes that keep a pass
// from looking at everything. Changed by `apply` alone, after the store has committed.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "state/object.h"
#include "state/service-index.h"
#include "state/usage.h"

namespace orch::control::manager {

struct Key {
  Kind kind;
  std::string id;
  auto operator<=>(const Key&) const = default;
};

// What a pass wants of one object: other words, or none.
struct Change {
  Words words;  // empty: the object is deleted
  bool isDelete() const { return words.size() == 0; }
  template <typename T>
  typename T::Reader as() const {
    return capnp::readMessageUnchecked<T>(words.begin() + 1);
  }
};

class State final {
 public:
  using Objects = std::map<std::string, Object, std::less<>>;
  // Tasks of one service by slot. The pointers are valid until the object is deleted.
  using SlotIndex = std::map<uint32_t, std::vector<const Object*>>;

  // Null if there is none. Valid until the object is deleted; its words until it changes.
  const Object* find(Kind kind, std::string_view id) const;
  const Objects& all(Kind kind) const { return objects[static_cast<size_t>(kind)]; }

  void apply(const Key& key, Change change, uint64_t revision);

  const SlotIndex* slots(std::string_view serviceId) const;
  const std::map<std::string, SlotIndex, std::less<>>& tasksByService() const { return byService; }
  const std::set<std::string>& tasksOf(std::string_view nodeId) const;
  const std::set<std::pair<int64_t, std::string>>& requestsByAge() const { return requests; }
  const UsageTable& usage() const { return use; }
  const ServiceIndex& services() const { return serviceIndex; }

  uint64_t revision = 0;      // of the newest commit
  int64_t newestStampNs = 0;  // the highest creation time seen

 private:
  void index(Kind kind, const Object& object, int sign);
  void indexTask(const Object& object, int sign);

  std::array<Objects, KINDS> objects;
  std::map<std::string, SlotIndex, std::less<>> byService;
  std::map<std::string, std::set<std::string>, std::less<>> byNode;
  std::set<std::pair<int64_t, std::string>> requests;
  UsageTable use;
  ServiceIndex serviceIndex;
  std::set<std::string> noTasks;
};

}  // namespace orch::control::manager
