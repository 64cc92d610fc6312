#include "driver.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "lib/names.h"
#include "lib/open-connections.h"
#include "lib/privilege.h"
#include "node.h"
#include "orch/attempt.h"
#include "orch/fail.h"

// A lambda that captures more than plain numbers is never written inside a co_await: g++ 12 frees
// what it captured twice.

namespace orch::network::bridge {

namespace {
constexpr kj::Duration CLAIM_PAUSE = 100 * kj::MILLISECONDS;
constexpr kj::Duration DRAIN_LOOK_EVERY = QUIET_MS / 4 * kj::MILLISECONDS;

kj::Maybe<kj::String> takeBoth(Claims& claims, const Layout& layout) {
  claims.release();
  KJ_IF_MAYBE (other, claims.take("bridge", layout.bridge)) return kj::mv(*other);
  return claims.take("table", layout.table);
}
}  // namespace

BridgeDriver::BridgeDriver(Env& env, Log log, Layout layout, kj::Function<void()> restored,
                           kj::Duration patience)
    : env(env),
      log(kj::mv(log)),
      layout(layout),
      restored(kj::mv(restored)),
      patience(patience),
      pool(layout.subnet) {}

Task<void> BridgeDriver::recover() {
  auto reading = env.workers().run([folder = layout.records()] { return readRecords(folder); });
  auto read = co_await reading;
  for (auto& record : read.records) {
    if (pool.take(record.address)) {
      auto taskId = record.taskId;
      attached.insert_or_assign(taskId, kj::mv(record));
      continue;
    }
    log.warn("network.record-unusable",
             {{"task", record.taskId.c_str()},
              {"reason", "its address is not in the pool; the task will be replaced"}});
  }
  for (auto& taskId : read.damaged) {
    log.warn(
        "network.record-unusable",
        {{"task", taskId.c_str()}, {"reason", "the file is damaged; the task will be replaced"}});
  }
}

Task<void> BridgeDriver::claim() {
  auto end = env.timer().now() + patience;
  for (;;) {
    auto other = takeBoth(claims, layout);
    KJ_IF_MAYBE (what, other) {
      // An owner tells nobody when it goes, so this asks again.
      if (env.timer().now() >= end) {
        fail(kj::str("the network '", layout.network.c_str(), "' cannot use ", *what,
                     ": another orchd on this node does; set 'bridge', 'table' and 'subnet' of the "
                     "plugin to others"));
      }
    } else {
      co_return;
    }
    co_await env.timer().afterDelay(CLAIM_PAUSE);
  }
}

Task<void> BridgeDriver::start() {
  KJ_IF_MAYBE (missing, missingPrivilege()) {
    fail(kj::str("the network '", layout.network.c_str(), "' needs root: orchd lacks ", *missing));
  }
  co_await claim();
  auto prepared = env.workers().run([layout = layout] {
    prepareNode(layout);
    writeTable(layout);
  });
  co_await prepared;
  looking = keepLooking().promise().eagerlyEvaluate([this](kj::Exception&& e) {
    log.error("network.internal", {{"reason", e.getDescription()}});
  });
}

Task<void> BridgeDriver::keepLooking() {
  while (!stopped) {
    co_await env.timer().afterDelay(LOOK_EVERY);
    auto looked = co_await attempt(look());
    std::string reason = looked.ok() ? "" : looked.message().cStr();
    if (!reason.empty() && reason != complaint) {
      log.warn("network.rules-lacking, trying again", {{"reason", reason.c_str()}});
    }
    complaint = kj::mv(reason);
  }
}

// In turn with `stop`, whose table would come back otherwise.
Task<void> BridgeDriver::look() {
  auto turn = co_await turns.take("");
  if (stopped) co_return;
  auto mending = env.workers().run([layout = layout] { return mendTable(layout); });
  bool mended = co_await mending;
  if (mended) {
    log.warn("network.table-rebuilt", {{"reason", "somebody has flushed it, or taken it away"}});
    restored();
  }
  co_await removeLingering();
}

// A namespace goes when the last of its sockets does, which may wait for minutes until the other
// side has heard its last words: too long, for an address that another task may have by then.
Task<void> BridgeDriver::removeLingering() {
  auto finding = env.workers().run([layout = layout] { return portsOf(layout); });
  auto found = co_await finding;
  std::set<std::string> lingering(found.begin(), found.end());
  for (auto& taskId : wiring) lingering.erase(layout.deviceOf(taskId));
  for (auto& [taskId, record] : attached) lingering.erase(layout.deviceOf(taskId));
  if (lingering.empty()) co_return;
  std::vector<std::string> devices(lingering.begin(), lingering.end());
  auto removing = env.workers().run([devices] { removeDevices(devices); });
  co_await removing;
}

Task<void> BridgeDriver::stop() {
  stopped = true;
  auto turn = co_await turns.take("");
  if (!claims.held() || !attached.empty() || !wiring.empty()) co_return;
  auto removed = env.workers().run([layout = layout] { removeNode(layout); });
  co_await removed;
}

TaskRecord BridgeDriver::reserve(std::string taskId) {
  if (pool.inUse() == pool.total()) {
    fail(kj::str("no address is left on the network '", layout.network.c_str(), "': all ",
                 pool.total(), " of its pool ", subnetText(layout.subnet),
                 " are in use; remove tasks from this node, or set a wider 'subnet'"));
  }
  TaskRecord record;
  record.taskId = kj::mv(taskId);
  record.address = *pool.take();
  wiring.insert(record.taskId);
  return record;
}

void BridgeDriver::giveUp(const TaskRecord& record) {
  pool.giveBack(record.address);
  wiring.erase(record.taskId);
  attached.erase(record.taskId);
}

Task<TaskRecord> BridgeDriver::attach(std::string taskId) {
  checkTaskId(taskId.c_str());
  auto turn = co_await turns.take(taskId);
  auto known = attached.find(taskId);
  if (known != attached.end()) co_return TaskRecord(known->second);

  auto record = reserve(taskId);
  auto wiringDone = env.workers().run([layout = layout, record] { wire(layout, record); });
  auto wired = co_await attempt(kj::mv(wiringDone));
  if (!wired.ok()) {
    co_await undo(record);
    fail(kj::str("cannot attach to the network '", layout.network.c_str(), "': ", wired.message()));
  }
  wiring.erase(taskId);
  attached.insert_or_assign(taskId, record);
  co_return kj::mv(record);
}

Task<void> BridgeDriver::undo(TaskRecord record) {
  auto removed = co_await attempt(remove(record));
  if (removed.ok()) co_return;
  log.warn("network.clean-up-failed",
           {{"task", record.taskId.c_str()}, {"reason", removed.message()}});
  giveUp(record);
}

Task<void> BridgeDriver::detach(std::string taskId) {
  if (!isId(taskId.c_str())) co_return;
  auto turn = co_await turns.take(taskId);
  auto known = attached.find(taskId);
  if (known != attached.end()) {
    auto record = known->second;
    co_await remove(kj::mv(record));
    co_return;
  }
  co_await unwireLater(taskId, 0);
}

kj::Promise<void> BridgeDriver::unwireLater(const std::string& taskId, Ipv4 address) {
  return env.workers().run([layout = layout, taskId, address] { unwire(layout, taskId, address); });
}

Task<void> BridgeDriver::remove(TaskRecord record) {
  co_await unwireLater(record.taskId, record.address);
  giveUp(record);
}

// The kernel tells nobody that a connection has become quiet: this looks, a few times in as long as
// it takes to be called quiet.
Task<uint32_t> BridgeDriver::drain(std::string taskId, kj::Duration limit) {
  if (attached.count(taskId) == 0) co_return 0;
  auto end = env.timer().now() + limit;
  // Owned by this call and by the look under way, which may end after it.
  std::shared_ptr<OpenConnections> connections;
  auto opened = env.workers().run([path = kj::str(layout.pinOf(taskId).c_str())] {
    return std::make_shared<OpenConnections>(path);
  });
  connections = co_await opened;
  for (;;) {
    auto look = env.workers().run([connections] { return connections->underWay(); });
    auto open = co_await look;
    if (open == 0 || env.timer().now() >= end) co_return open;
    co_await env.timer().afterDelay(DRAIN_LOOK_EVERY);
  }
}

Task<std::vector<TaskRecord>> BridgeDriver::retain(std::vector<std::string> taskIds) {
  auto surveyed = env.workers().run([layout = layout] { return survey(layout); });
  auto found = co_await surveyed;
  std::set<std::string> keep(taskIds.begin(), taskIds.end());
  std::set<std::string> pins(found.pins.begin(), found.pins.end());
  std::set<std::string> devices(found.devices.begin(), found.devices.end());
  std::set<std::string> gone(found.strays.begin(), found.strays.end());
  gone.insert(pins.begin(), pins.end());
  std::set<std::string> doomed(found.ports.begin(), found.ports.end());
  std::vector<TaskRecord> kept;
  for (auto& taskId : wiring) {
    gone.erase(taskId);
    doomed.erase(layout.deviceOf(taskId));
  }
  for (auto& [taskId, record] : attached) {
    auto device = layout.deviceOf(taskId);
    bool whole = pins.count(taskId) > 0 && devices.count(device) > 0;
    if (keep.count(taskId) > 0 && whole) {
      gone.erase(taskId);
      doomed.erase(device);
      kept.push_back(record);
      continue;
    }
    gone.insert(taskId);
    if (keep.count(taskId) == 0) continue;
    log.warn("network.task-lost",
             {{"task", taskId.c_str()}, {"reason", "its namespace or device is gone"}});
  }
  kj::Vector<kj::Promise<void>> removals;
  for (auto& taskId : gone) removals.add(detach(taskId));
  auto all = kj::joinPromises(removals.releaseAsArray());
  co_await all;
  std::vector<std::string> strays(doomed.begin(), doomed.end());
  auto stale = takeStale(found.neighbours);
  auto tidied = env.workers().run([layout = layout, kept, strays, stale] {
    forgetNeighbours(layout, stale);
    reconnect(layout, kept);
    removeDevices(strays);
    writeTable(layout);
  });
  auto outcome = co_await attempt(kj::mv(tidied));
  for (auto address : stale) {
    if (layout.subnet.contains(address)) pool.giveBack(address);
  }
  if (!outcome.ok()) kj::throwFatalException(kj::mv(outcome.error()));

  std::vector<TaskRecord> answer;
  for (auto& taskId : keep) {
    auto known = attached.find(taskId);
    if (known != attached.end()) answer.push_back(known->second);
  }
  co_return kj::mv(answer);
}

// ---- what the kernel has ------------------------------------------------------------------------

Task<Findings> BridgeDriver::compare() {
  std::vector<TaskRecord> records;
  for (auto& [taskId, record] : attached) records.push_back(record);
  auto reading =
      env.workers().run([layout = layout, records] { return checkBridge(layout, records); });
  auto checked = co_await reading;
  auto findings = kj::mv(checked.node);
  for (auto& record : records) {  // some may have gone meanwhile
    auto known = attached.find(record.taskId);
    bool stays = known != attached.end() && known->second == record;
    if (stays) findings.add(checked.tasks.at(record.taskId));
  }
  co_return kj::mv(findings);
}

Task<Findings> BridgeDriver::check(bool repair) {
  auto findings = co_await compare();
  if (!repair || findings.empty()) co_return kj::mv(findings);
  log.warn("network.repaired", {{"things", kj::str(findings.all().size())}});
  std::vector<TaskRecord> records;
  for (auto& [taskId, record] : attached) records.push_back(record);
  auto mending = env.workers().run([layout = layout, records] {
    prepareNode(layout);
    mend(layout, records);
    writeTable(layout);
  });
  auto mended = co_await attempt(kj::mv(mending));
  if (!mended.ok()) log.warn("network.repair-failed", {{"reason", mended.message()}});
  auto left = co_await compare();
  findings.repairedBut(left);
  co_return kj::mv(findings);
}

std::vector<std::string> BridgeDriver::taskIds() const {
  std::vector<std::string> ids;
  for (auto& [taskId, record] : attached) ids.push_back(taskId);
  return ids;
}

std::vector<Ipv4> BridgeDriver::takeStale(const std::vector<Ipv4>& neighbours) {
  std::vector<Ipv4> stale;
  for (auto address : neighbours) {
    if (!layout.subnet.contains(address) || pool.take(address)) stale.push_back(address);
  }
  return stale;
}

}  // namespace orch::network::bridge
