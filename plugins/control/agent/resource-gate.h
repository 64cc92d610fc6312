// What the tasks of a node must not have two at a time: its resources that have names
// (GenericResource), so that no container starts while another may still run that has one of the
// same, and slots. The manager gives each to one task at a time, as far as it knows; what this node
// began by itself while it was cut off, or what was given up meanwhile, may not have ended yet.
#pragma once

#include <kj/async.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "orch/schema/objects.capnp.h"

namespace orch::control::agent {

// Of one node, on its loop.
class ResourceGate final {
 public:
  // Its container may run already.
  void keep(schema::Task::Reader task) {
    each(task, [&](auto&& name) { holders[name].insert(idOf(task)); });
  }
  // Nothing else of its slot starts here: of one that this node made, until the managers have it as
  // well, who know themselves which tasks may run side by side.
  void keepSlot(schema::Task::Reader task) { holders[slotOf(task)].insert(idOf(task)); }
  void giveSlotBack(schema::Task::Reader task) {
    giveBack(slotOf(task), task);
    tell();
  }
  // Whether no other task has anything of it; then this one has it all. Else nothing changes.
  bool take(schema::Task::Reader task) {
    bool free = isFree(slotOf(task), task);
    each(task, [&](auto&& name) { free &= isFree(name, task); });
    if (free) keep(task);
    return free;
  }
  // Its container has ended, or never was.
  void giveBack(schema::Task::Reader task) {
    each(task, [&](auto&& name) { giveBack(name, task); });
    giveBack(slotOf(task), task);
    tell();
  }
  // Settles when something is given back.
  kj::Promise<void> whenChanged() {
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiting.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  template <typename F>
  static void each(schema::Task::Reader task, F&& use) {
    for (auto resource : task.getGeneric()) {
      for (auto name : resource.getNames()) {
        use(std::string(resource.getKind().cStr()) + "=" + name.cStr());
      }
    }
  }
  static std::string idOf(schema::Task::Reader task) { return task.getMeta().getId().cStr(); }
  // A kind has no space.
  static std::string slotOf(schema::Task::Reader task) {
    return "slot " + std::to_string(task.getSlot()) + "=" + task.getServiceId().cStr();
  }
  bool isFree(const std::string& name, schema::Task::Reader task) const {
    auto it = holders.find(name);
    if (it == holders.end()) return true;
    return it->second.size() == it->second.count(idOf(task));
  }
  void giveBack(const std::string& name, schema::Task::Reader task) {
    auto it = holders.find(name);
    if (it == holders.end()) return;
    it->second.erase(idOf(task));
    if (it->second.empty()) holders.erase(it);
  }

  void tell() {
    for (auto& one : std::exchange(waiting, {})) one->fulfill();
  }

  std::map<std::string, std::set<std::string>> holders;  // tasks, by kind=name
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
};

}  // namespace orch::control::agent
