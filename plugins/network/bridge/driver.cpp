#include "driver.h"

#include <kj/debug.h>
#include <netinet/in.h>

#include <algorithm>

#include "lib/names.h"
#include "lib/privilege.h"
#include "node.h"
#include "orch/attempt.h"
#include "orch/fail.h"

// A lambda that captures more than plain numbers is never written inside a co_await: g++ 12 frees
// what it captured twice.

namespace orch::network::bridge {

namespace {

// More than any service has; keeps one request from taking all ports of the node.
constexpr size_t MAX_PORTS_PER_TASK = 1024;
constexpr kj::Duration CLAIM_PAUSE = 100 * kj::MILLISECONDS;

kj::String portsPrefix(uint16_t port, uint8_t protocol) {
  return kj::str("cannot publish port ", portText(port, protocol));
}

// No text of this file that a task is refused with names the task: whoever tries again, for other
// tasks of the same service, compares them.
void checkPorts(const std::vector<TaskPort>& ports) {
  if (ports.size() > MAX_PORTS_PER_TASK) {
    fail(kj::str("cannot publish ", ports.size(), " ports of one task: at most ",
                 MAX_PORTS_PER_TASK, " are possible"));
  }
  std::set<PortKey> seen;
  for (auto& port : ports) {
    if (port.target == 0) {
      fail(kj::str(portsPrefix(port.published, port.protocol),
                   ": the target port is 0; it must be 1 to 65535"));
    }
    if (port.published == 0 && port.host) continue;
    if (port.published == 0) {
      fail(kj::str(portsPrefix(port.target, port.protocol),
                   ": with mode=ingress the published port must be chosen before, and it is 0"));
    }
    if (!seen.insert(keyOf(port)).second) {
      fail(kj::str(portsPrefix(port.published, port.protocol),
                   " twice for one task; publish another port"));
    }
  }
}

}  // namespace

BridgeDriver::BridgeDriver(Env& env, Log log, Layout layout, kj::Duration patience)
    : env(env),
      log(kj::mv(log)),
      layout(layout),
      patience(patience),
      pool(layout.subnet),
      tasks(*this) {}

void BridgeDriver::taskFailed(kj::Exception&& exception) {
  log.error("network.internal", {{"reason", exception.getDescription()}});
}

Task<void> BridgeDriver::recover() {
  auto reading = env.workers().run([folder = layout.records()] { return readRecords(folder); });
  auto read = co_await reading;
  for (auto& record : read.records) {
    if (pool.take(record.address)) {
      adopt(kj::mv(record));
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

void BridgeDriver::adopt(TaskRecord record) {
  ports.publish(record);
  if (record.active) ports.activate(record);
  auto taskId = record.taskId;
  attached.insert_or_assign(taskId, kj::mv(record));
}

Task<void> BridgeDriver::claim() {
  auto end = env.timer().now() + patience;
  for (;;) {
    auto other = claims.take(layout);
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
  auto prepared = env.workers().run([layout = layout] { prepareNode(layout); });
  co_await prepared;
  // The kernel kept leading the ports' traffic to the tasks meanwhile; so it stays.
  for (auto& key : ports.keys()) {
    if (sockets.hold(key) && sockets.secure(key)) continue;
    log.warn("network.port-not-held",
             {{"port", portText(key.port, key.protocol)},
              {"reason", "a program took it while orchd was away; it gets no traffic"}});
  }
  rebuild = true;
  co_await sync();
}

Task<void> BridgeDriver::stop() {
  if (!claims.held() || !attached.empty() || !wiring.empty()) co_return;
  auto removed = env.workers().run([layout = layout] { removeNode(layout); });
  co_await removed;
}

void BridgeDriver::choosePort(TaskPort& port, std::vector<PortKey>& held) {
  if (port.published == 0) {
    port.published = sockets.holdAny(port.protocol);
    held.push_back(keyOf(port));
    return;
  }
  if (ports.conflict(port)) {
    fail(kj::str(portsPrefix(port.published, port.protocol),
                 " on this node: another task has it already; publish another port, or remove that "
                 "task"));
  }
  bool before = sockets.holds(keyOf(port));
  if (!sockets.hold(keyOf(port))) {
    fail(kj::str(portsPrefix(port.published, port.protocol),
                 " on this node: another program listens on it (`ss -lntup` names it); stop that "
                 "program, or publish another port"));
  }
  if (!before) held.push_back(keyOf(port));
}

TaskRecord BridgeDriver::reserve(std::string taskId, std::string serviceId,
                                 std::vector<TaskPort> wanted) {
  checkPorts(wanted);
  if (pool.inUse() == pool.total()) {
    fail(kj::str("no address is left on the network '", layout.network.c_str(), "': all ",
                 pool.total(), " of its pool ", subnetText(layout.subnet),
                 " are in use; remove tasks from this node, or set a wider 'subnet'"));
  }
  TaskRecord record;
  record.taskId = kj::mv(taskId);
  record.serviceId = kj::mv(serviceId);
  std::vector<PortKey> held;
  KJ_ON_SCOPE_FAILURE(for (auto& key : held) sockets.release(key));
  for (auto& port : wanted) choosePort(port, held);
  record.ports = kj::mv(wanted);
  record.address = *pool.take();
  ports.publish(record);
  wiring.insert(record.taskId);
  return record;
}

void BridgeDriver::releaseUnused(const std::vector<TaskPort>& candidates) {
  for (auto& port : candidates) {
    if (!ports.published(keyOf(port))) sockets.release(keyOf(port));
  }
}

void BridgeDriver::giveUp(const TaskRecord& record) {
  releaseUnused(record.ports);
  pool.giveBack(record.address);
  wiring.erase(record.taskId);
  attached.erase(record.taskId);
}

Task<TaskRecord> BridgeDriver::attach(std::string taskId, std::string serviceId,
                                      std::vector<TaskPort> wanted) {
  if (!isId(taskId.c_str())) {
    fail(kj::str("'", taskId.c_str(),
                 "' cannot be a task's id: it must be 1 to 64 characters of "
                 "a-z, A-Z, 0-9, '_', '-' and '.'"));
  }
  auto turn = co_await turns.take(taskId);
  auto known = attached.find(taskId);
  if (known != attached.end()) co_return TaskRecord(known->second);

  auto record = reserve(taskId, kj::mv(serviceId), kj::mv(wanted));
  auto ruled = record.ports.empty() ? kj::Promise<void>(kj::READY_NOW) : sync();
  auto wiringDone = env.workers().run([layout = layout, record] { wire(layout, record); });
  auto wired = co_await attempt(kj::mv(wiringDone));
  auto settled = co_await attempt(kj::mv(ruled));
  if (!wired.ok() || !settled.ok()) {
    co_await undo(record);
    auto reason = kj::str(wired.ok() ? settled.message() : wired.message());
    fail(kj::str("cannot attach to the network '", layout.network.c_str(), "': ", reason));
  }
  co_await secure(record);
  wiring.erase(taskId);
  attached.insert_or_assign(taskId, record);
  co_return kj::mv(record);
}

Task<void> BridgeDriver::secure(const TaskRecord& record) {
  for (auto& port : record.ports) {
    if (sockets.holds(keyOf(port)) && sockets.secure(keyOf(port))) continue;
    auto text = kj::str(portsPrefix(port.published, port.protocol),
                        " on this node: another program has just taken it");
    co_await undo(record);
    fail(kj::mv(text));
  }
}

Task<void> BridgeDriver::undo(TaskRecord record) {
  auto removed = co_await attempt(remove(record));
  if (removed.ok()) co_return;
  log.warn("network.clean-up-failed",
           {{"task", record.taskId.c_str()}, {"reason", removed.message()}});
  giveUp(record);
}

Task<void> BridgeDriver::setActive(std::string taskId, bool active) {
  auto turn = co_await turns.take(taskId);
  auto known = attached.find(taskId);
  if (known == attached.end()) {
    if (!active) co_return;  // gone: nothing leads to it
    fail(kj::str("cannot lead traffic to a task that is not attached to the network '",
                 layout.network.c_str(), "'"));
  }
  if (known->second.active == active) co_return;
  switchTo(known->second, active);
  auto done = co_await attempt(sync());
  if (done.ok()) co_return;
  switchTo(attached.at(taskId), !active);
  fail(kj::str("cannot ", active ? "lead traffic to" : "take traffic from",
               " a task on the network '", layout.network.c_str(), "': ", done.message()));
}

void BridgeDriver::switchTo(TaskRecord& record, bool active) {
  record.active = active;
  changedRecords.push_back(record.taskId);
  if (active) {
    ports.activate(record);
    return;
  }
  ports.deactivate(record);
  forgetClients(record);
}

void BridgeDriver::forgetClients(const TaskRecord& record) {
  bool udp = std::any_of(record.ports.begin(), record.ports.end(),
                         [](auto& port) { return port.protocol == IPPROTO_UDP; });
  // UDP has no end of a connection: without this its clients would stay for ever. TCP's clients
  // are told by the task's end; to look for them costs milliseconds.
  if (udp) forget.push_back({record.address, IPPROTO_UDP});
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
  ports.withdraw(record);
  if (!record.ports.empty()) {
    forgetClients(record);
    co_await sync();
  }
  co_await unwireLater(record.taskId, record.address);
  giveUp(record);
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
  });
  auto outcome = co_await attempt(kj::mv(tidied));
  for (auto address : stale) {
    if (layout.subnet.contains(address)) pool.giveBack(address);
  }
  if (!outcome.ok()) kj::throwFatalException(kj::mv(outcome.error()));
  rebuild = true;
  co_await sync();

  std::vector<TaskRecord> answer;
  for (auto& taskId : keep) {
    auto known = attached.find(taskId);
    if (known != attached.end()) answer.push_back(known->second);
  }
  co_return kj::mv(answer);
}

std::vector<Ipv4> BridgeDriver::takeStale(const std::vector<Ipv4>& neighbours) {
  std::vector<Ipv4> stale;
  for (auto address : neighbours) {
    if (!layout.subnet.contains(address) || pool.take(address)) stale.push_back(address);
  }
  return stale;
}

kj::Promise<void> BridgeDriver::sync() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiters.push_back(kj::mv(pair.fulfiller));
  if (!flushing) {
    flushing = true;
    tasks.add(flush());
  }
  return kj::mv(pair.promise);
}

Task<void> BridgeDriver::flush() {
  while (!waiters.empty()) {
    auto batch = kj::mv(waiters);
    waiters.clear();
    bool whole = rebuild;
    auto failure = co_await flushSafely();
    if (failure != nullptr && !whole) {
      // Somebody changed or flushed the table under us: make it anew, as a whole.
      log.warn("network.table-rebuilt", {{"reason", KJ_ASSERT_NONNULL(failure).getDescription()}});
      rebuild = true;
      auto second = co_await flushSafely();
      failure = kj::mv(second);
    }
    for (auto& waiter : batch) {
      KJ_IF_MAYBE (exception, failure) {
        waiter->reject(kj::cp(*exception));
      } else {
        waiter->fulfill();
      }
    }
  }
  flushing = false;
}

// Whatever goes wrong, those who wait are told, and the next who comes finds the queue in order.
Task<kj::Maybe<kj::Exception>> BridgeDriver::flushSafely() {
  auto outcome = co_await attempt(flushOnce());
  if (!outcome.ok()) co_return kj::mv(outcome.error());
  co_return kj::mv(outcome.value());
}

Task<kj::Maybe<kj::Exception>> BridgeDriver::flushOnce() {
  if (!netfilter) netfilter = std::make_shared<NetlinkSocket>(NETLINK_NETFILTER);
  RuleChange change;
  change.rebuild = rebuild;
  change.ports = rebuild ? ports.everything() : ports.changes();
  for (auto& taskId : changedRecords) {
    auto known = attached.find(taskId);
    if (known != attached.end()) change.records.push_back(known->second);
  }
  auto again = kj::mv(changedRecords);
  changedRecords.clear();
  change.forget = kj::mv(forget);
  forget.clear();
  auto work = [layout = layout, socket = netfilter, change] {
    return apply(layout, *socket, change);
  };
  auto applied = kj::evalNow([&]() { return env.workers().run(kj::mv(work)); });
  auto outcome = co_await attempt(kj::mv(applied));
  if (!outcome.ok()) {
    changedRecords.insert(changedRecords.end(), again.begin(), again.end());
    forget.insert(forget.end(), change.forget.begin(), change.forget.end());
    co_return kj::mv(outcome.error());
  }
  if (change.rebuild) {
    ports.confirmAll(change.ports);
  } else {
    ports.confirm(change.ports);
  }
  rebuild = false;
  if (!outcome.value().empty()) {
    log.warn("network.flows-kept", {{"reason", outcome.value().c_str()}});
  }
  co_return nullptr;
}

}  // namespace orch::network::bridge
