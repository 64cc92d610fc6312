// What other plugins are told of tasks (sdk/schema/integration.capnp), and how one waits until they
// have made use of it: an agent's, of those of its node, and a manager's, of the cluster's.
#pragma once

#include <kj/async.h>

#include <set>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/integration.capnp.h"
#include "orch/task.h"

namespace orch::control {

// On the loop's thread. Watches are told what there is when they are, so that a slow one costs a
// set of ids and misses nothing but what has come and gone.
class TaskFeed final {
 public:
  // The tasks that there are.
  class Source {
   public:
    virtual ~Source() noexcept(false) {}
    virtual std::vector<std::string> fedTasks() = 0;
    virtual bool isFed(const std::string& id) = 0;
    virtual void feed(const std::string& id, schema::TaskEntry::Builder entry) = 0;
  };
  // Both outlive it. `limitMs`: how long `settled` waits at most, for those who watch and then for
  // those who follow them.
  TaskFeed(Env& env, Source& source, uint64_t limitMs);
  KJ_DISALLOW_COPY(TaskFeed);

  // It is another one than before, or gone.
  void changed(kj::StringPtr id);
  // Settles when all who watch have answered to what has changed until now, or watch no more, or
  // have taken too long: then it is false; and when those who follow them have had their time. At
  // once if nobody watches.
  Task<bool> settled();
  bool isWatched() const { return !watches.empty(); }
  // Until it is cancelled or the sink fails.
  Task<void> watch(schema::TaskSink::Client sink);

 private:
  struct Watch {
    bool whole = true;            // it is to be told everything
    std::set<std::string> dirty;  // otherwise these
    uint64_t told = 0;            // the version that it has answered to
    uint32_t noticedMs = 0;       // with that answer
    kj::Own<kj::PromiseFulfiller<void>> wanted;
  };
  struct Waiter {
    uint64_t version = 0;
    kj::Own<kj::PromiseFulfiller<uint32_t>> fulfiller;  // with the longest `noticedMs`
  };
  kj::Promise<uint32_t> tell(Watch& watch, schema::TaskSink::Client& sink);
  void end(Watch& watch);
  // Lets those go on for whom nobody has to be waited for any more.
  void release();

  Env& env;
  Source& source;
  const uint64_t limitMs;
  uint64_t version = 0;  // counts changes
  std::vector<Watch*> watches;
  std::vector<Waiter> waiters;
};

}  // namespace orch::control
