// What must always be true of a cluster. The book follows what the manager has made durable and
// what containers really run, and writes down the first rule that is broken.
#pragma once

#include <capnp/serialize.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "orch/schema/objects.capnp.h"
#include "orch/testing/memory-store.h"
#include "simulated-host.h"

namespace orch::testing {

class Book final : public ContainerWatcher {
 public:
  struct Node {
    bool down = false;
    schema::Node::Availability availability = schema::Node::Availability::ACTIVE;
    int64_t cpuNanos = 0;
    int64_t memoryBytes = 0;
    uint64_t cards = 0;
  };
  struct Service {
    std::string name;
    bool global = false;
    uint32_t replicas = 0;
    bool job = false;
    bool ended = false;      // its newest run
    uint32_t completed = 0;  // of the newest run that has
    uint64_t specVersion = 0;
    std::string image;
    bool everStartFirst = false;
    schema::UpdateStatus::State update = schema::UpdateStatus::State::NONE;
  };
  struct Task {
    kj::Array<capnp::word> words;  // the object, without its status
    std::string service;
    std::string slot;  // the number, or the node
    std::string node;
    schema::TaskState desired = schema::TaskState::NEW;
    schema::TaskState state = schema::TaskState::NEW;
    bool said = false;  // its state was written; else it follows from its having a node
    uint64_t specVersion = 0;
    uint64_t iteration = 0;
    int64_t cpuNanos = 0;
    int64_t memoryBytes = 0;
    std::set<std::string> cards;  // that it was given
    int64_t giveUpNs = 0;         // when the manager need not wait for its end any more; 0: it must
    bool there = true;            // in the state
    bool local = false;           // made by its node, while that was cut off
    std::set<std::string> beside;  // tasks of its slot that may still run when it does
    bool mayRun() const { return desired <= schema::TaskState::RUNNING; }
    bool over() const {
      return state >= schema::TaskState::COMPLETE && state != schema::TaskState::REMOVE;
    }
    bool assigned() const { return !node.empty() && state >= schema::TaskState::ASSIGNED; }
  };
  // What the cluster around it knows.
  struct Surroundings {
    std::function<int64_t()> managerNowNs;
    // Whether there is a reason for the manager to take the node for down.
    std::function<bool(const std::string& node)> mayBeDown;
    // The same for the node: whether it may find no manager.
    std::function<bool(const std::string& node)> mayBeAlone;
    std::function<void(const std::string& text)> log;
  };
  explicit Book(Surroundings around) : around(std::move(around)) {}

  // The first rule that was broken; empty: none.
  const std::string& violation() const { return broken; }
  void violate(const std::string& text);

  // A batch of the manager's store.
  void wrote(kj::ArrayPtr<const MemoryStore::Written> batch);
  void started(const std::string& host, const std::string& taskId) override;
  void ended(const std::string& host, const std::string& taskId) override;
  void stored(const std::string& host, const std::string& taskId,
              kj::Maybe<schema::Task::Reader> task) override;

  // Containers that run of a service's tasks.
  std::vector<std::string> running(const std::string& serviceId) const;
  size_t tasksThere() const;
  // Whether a task that should run has no node.
  bool waitsForRoom(const std::string& serviceId) const;

  std::map<std::string, Node> nodes;
  std::map<std::string, Service> services;
  std::map<std::string, Task> tasks;                   // also those that are gone
  std::map<std::string, std::set<std::string>> hosts;  // that a container of the task runs on
  // Counted.
  uint64_t taskWrites = 0;
  uint64_t takenIn = 0;  // tasks that nodes made by themselves, and are in the state
  size_t mostTasksOfASlot = 0;

 private:
  void take(const MemoryStore::Written& entry);
  void takeTask(const std::string& id, schema::Task::Reader task);
  void takeStatus(const std::string& id, schema::TaskStatus::Reader status);
  void checkRun(const std::string& id, const Task& task);
  void promoted(const std::string& id, Task& task);
  // Whether another task of the slot may run, or be about to, when it is to.
  bool mayRunBeside(const Task& task, const Task& other) const;
  void tookLocal(const std::string& host, const std::string& taskId, schema::Task::Reader task);
  void checkSlots();
  void checkRoom();
  void checkCards(const std::string& host, const std::string& taskId);
  std::string nameOf(const std::string& taskId) const;

  Surroundings around;
  std::string broken;
  struct Stored {
    schema::TaskState desired, state;
  };
  std::map<std::pair<std::string, std::string>, Stored> disks;  // by host and task
  std::map<std::string, uint32_t> runs;                         // of each task's program
  std::set<std::string> changed;                                // tasks, by this batch
  std::set<std::string> wereDown;                               // nodes, before this batch
  std::set<std::string> toRun;  // that are asked to run by this batch, for the first time
};

}  // namespace orch::testing
