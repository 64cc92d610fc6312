// The network `bridge` of one node: keeps the books (addresses and tasks) on the loop, and has
// worker threads do what the kernel does.
//
// What a task has is in its record (record.h) before it is in the kernel, and in the kernel before
// a call is answered, so that the next orchd finds both and needs nothing from this one.
#pragma once

#include <kj/function.h>
#include <kj/refcount.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "layout.h"
#include "lib/claims.h"
#include "lib/findings.h"
#include "lib/turns.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/network.capnp.h"
#include "orch/task.h"
#include "pool.h"
#include "wiring.h"

namespace orch::network::bridge {

// On the loop's thread. Shared by the plugin and the service that it offers; what is under way when
// the last of them goes is not undone, the next run's `retain` sees to it.
class BridgeDriver final : public kj::Refcounted {
 public:
  // How long `start` waits for another owner of the bridge or the table: one that was killed lets
  // go of them a moment after it has stopped running.
  static constexpr kj::Duration PATIENCE = 3 * kj::SECONDS;

  // Whether all rules are there that should be.
  static constexpr kj::Duration LOOK_EVERY = 5 * kj::SECONDS;

  // `restored` is called when rules that somebody took away are back, until `stopLooking`.
  BridgeDriver(Env& env, Log log, Layout layout, kj::Function<void()> restored,
               kj::Duration patience = PATIENCE);
  KJ_DISALLOW_COPY(BridgeDriver);

  const Layout& facts() const { return layout; }
  const AddressPool& addresses() const { return pool; }

  // Reads the records of the last run; changes nothing. Damaged ones are reported and forgotten.
  Task<void> recover();
  // Makes the node ready. Fails, changing nothing, without the privileges, and if another orchd has
  // the bridge or the table.
  Task<void> start();
  // With no task left, takes away the bridge and the table; else, and if it never started, all
  // stays as it is.
  Task<void> stop();
  // Looks at nothing any more.
  void stopLooking() { looking = nullptr; }

  // As in network.capnp. What is returned is a copy.
  Task<TaskRecord> attach(std::string taskId);
  Task<void> detach(std::string taskId);
  Task<std::vector<TaskRecord>> retain(std::vector<std::string> taskIds);
  // What the kernel has against the books.
  Task<Findings> check(bool repair);
  std::vector<std::string> taskIds() const;
  // 0 at once for a task that it does not have.
  Task<uint32_t> drain(std::string taskId, kj::Duration limit);

 private:
  Task<void> claim();
  Task<Findings> compare();
  Task<void> keepLooking();
  Task<void> look();
  Task<void> removeLingering();

  // An address for a new task; fails with a text that says what is lacking, and changes nothing
  // then.
  TaskRecord reserve(std::string taskId);
  // The opposite of `reserve`, when the kernel has nothing of the task any more.
  void giveUp(const TaskRecord& record);
  Task<void> undo(TaskRecord record);
  Task<void> remove(TaskRecord record);
  kj::Promise<void> unwireLater(const std::string& taskId, Ipv4 address);
  // Of neighbours on the bridge, those whom no task has. Their addresses are taken meanwhile.
  std::vector<Ipv4> takeStale(const std::vector<Ipv4>& neighbours);

  Env& env;
  Log log;
  Layout layout;
  kj::Function<void()> restored;
  const kj::Duration patience;
  Claims claims;
  AddressPool pool;
  std::map<std::string, TaskRecord> attached;
  std::set<std::string> wiring;  // reserved, and not yet attached
  Turns turns;
  bool stopped = false;
  std::string complaint;                // of the last look
  kj::Promise<void> looking = nullptr;  // last: it uses all of the above
};

}  // namespace orch::network::bridge
