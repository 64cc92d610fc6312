// The tasks that somebody offers (sdk/schema/integration.capnp), kept as they change.
#pragma once

#include <capnp/message.h>
#include <kj/refcount.h>

#include <map>
#include <memory>
#include <string>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/integration.capnp.h"
#include "orch/task.h"

namespace orch::integration {

// Tasks by id.
class TaskView final {
 public:
  void take(schema::TaskSink::UpdateParams::Reader update);
  // `each` is called with the id, a number and the schema::TaskEntry::Reader of every task, in the
  // order of the ids. Where the number is the same as before, so is the entry.
  template <typename F>
  void visit(F each) const {
    for (auto& [id, task] : tasks) {
      each(id, task.number, task.entry->template getRoot<schema::TaskEntry>().asReader());
    }
  }

 private:
  struct Known {
    uint64_t number = 0;
    std::unique_ptr<capnp::MallocMessageBuilder> entry;
  };
  std::map<std::string, Known> tasks;
  uint64_t taken = 0;
};

// Who makes use of them.
class TaskUser {
 public:
  virtual ~TaskUser() noexcept(false) {}
  // They are others than before, and the first time all that there are. Settles when what is told
  // to others agrees, or was given up for now: a task that is about to stop waits for it.
  virtual kj::Promise<void> tasksChanged(const TaskView& tasks) = 0;
  // Nobody says what there is; what was known stays. `reason` is a sentence.
  virtual void tasksUnknown(kj::StringPtr /*reason*/) {}
  // How long those others take at most to notice.
  virtual uint32_t noticedMs() const { return 0; }
};

// Counted by its owner and by the sinks that it has given out. What was known stays while nobody
// offers it; it is asked for again at 1 s, 2 s, 4 s … up to 10 s.
class TaskWatch final : public kj::Refcounted {
 public:
  // All outlive it, or its `end`. `service`: who offers them, as `tasks`.
  TaskWatch(Env& env, Host& host, TaskUser& user, std::string service);

  void start();
  // No call to the user after it.
  void end();

 private:
  class Sink;
  Task<void> follow();
  void note(kj::StringPtr trouble);

  Env& env;
  Host& host;
  kj::Maybe<TaskUser&> user;
  const std::string service;
  TaskView view;
  kj::String trouble;
  kj::Promise<void> following = nullptr;
};

}  // namespace orch::integration
