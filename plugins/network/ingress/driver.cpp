#include "driver.h"

#include <kj/debug.h>
#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "lib/names.h"
#include "lib/nft-batch.h"
#include "lib/privilege.h"
#include "orch/attempt.h"
#include "orch/fail.h"

// A lambda that captures more than plain numbers is never written inside a co_await: g++ 12 frees
// what it captured twice.

namespace orch::network::ingress {

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

std::vector<PortKey> keysOf(const Publication& publication) {
  std::vector<PortKey> keys;
  for (auto& port : publication.ports) keys.push_back(keyOf(port));
  return keys;
}

}  // namespace

IngressDriver::IngressDriver(Env& env, Log log, Layout layout, Events events, kj::Duration patience)
    : env(env),
      log(kj::mv(log)),
      layout(layout),
      events(kj::mv(events)),
      patience(patience),
      tasks(*this) {}

void IngressDriver::taskFailed(kj::Exception&& exception) {
  log.error("network.internal", {{"reason", exception.getDescription()}});
}

Task<void> IngressDriver::recover() {
  struct Read {
    ReadPublications publications;
    ReadOthers others;
  };
  auto reading = env.workers().run([layout = layout] {
    return Read{readPublications(layout.records()), readOthers(layout)};
  });
  auto read = co_await reading;
  for (auto& publication : read.publications.whole) adopt(kj::mv(publication));
  for (auto& taskId : read.publications.damaged) {
    log.warn(
        "network.record-unusable",
        {{"task", taskId.c_str()}, {"reason", "the file is damaged; its ports are let go of"}});
  }
  for (auto& name : read.others.damaged) {
    log.warn("network.record-unusable",
             {{"node", name.empty() ? "this one" : name.c_str()},
              {"reason", "the file is damaged; what it said is asked of the managers"}});
  }
  if (layout.address && read.others.facts.own != 0) read.others.facts.own = *layout.address;
  others.adopt(kj::mv(read.others));
}

void IngressDriver::adopt(Publication publication) {
  ports.publish(publication);
  if (publication.active) ports.activate(publication);
  auto taskId = publication.taskId;
  published.insert_or_assign(taskId, kj::mv(publication));
}

Task<void> IngressDriver::claim() {
  auto end = env.timer().now() + patience;
  for (;;) {
    auto other = claims.take("table", layout.table);
    KJ_IF_MAYBE (what, other) {
      // An owner tells nobody when it goes, so this asks again.
      if (env.timer().now() >= end) {
        fail(kj::str("published ports cannot use ", *what,
                     ": another orchd on this node does; set 'table' and 'device' of the plugin to "
                     "others"));
      }
    } else {
      co_return;
    }
    co_await env.timer().afterDelay(CLAIM_PAUSE);
  }
}

Task<void> IngressDriver::start() {
  KJ_IF_MAYBE (missing, missingPrivilege()) {
    fail(kj::str("published ports need root: orchd lacks ", *missing));
  }
  co_await claim();
  auto looking = env.workers().run([layout = layout] {
    return std::pair(nftTableExists(layout.table.c_str()), meshIsThere(layout));
  });
  auto found = co_await looking;
  tableThere = found.first;
  meshThere = found.second;
  // The kernel kept leading the ports' traffic to the tasks meanwhile; so it stays.
  for (auto& key : holdAll()) {
    log.warn("network.port-not-held",
             {{"port", portText(key.port, key.protocol)},
              {"reason", "a program took it while orchd was away; it gets no traffic"}});
  }
  co_await join();
  co_await lead();
  tasks.add(keepLooking());
}

bool IngressDriver::idle() const {
  return published.empty() && (others.facts().own == 0 || !others.serve());
}

Task<void> IngressDriver::stop() {
  if (!claims.held()) co_return;
  auto turn = co_await turns.take("");
  stopped = true;
  if (idle()) co_await sweep();
}

// ---- tasks of this node -------------------------------------------------------------------------

void IngressDriver::choosePort(TaskPort& port, std::vector<PortKey>& held) {
  if (port.published == 0) {
    port.published = sockets.holdAny(port.protocol);
    held.push_back(keyOf(port));
    return;
  }
  if (ports.conflicts(port)) {
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

Publication IngressDriver::reserve(std::string taskId, const TaskAddress& address,
                                   std::vector<TaskPort> wanted) {
  checkPorts(wanted);
  Publication publication;
  publication.taskId = kj::mv(taskId);
  publication.address = address.ipv4;
  if (layout.ipv6) publication.address6 = address.ipv6;
  std::vector<PortKey> held;
  KJ_ON_SCOPE_FAILURE(for (auto& key : held) sockets.release(key));
  for (auto& port : wanted) choosePort(port, held);
  publication.ports = kj::mv(wanted);
  ports.publish(publication);
  return publication;
}

std::vector<PortKey> IngressDriver::holdAll() {
  std::vector<PortKey> lacking;
  for (auto& key : ports.keys()) {
    if (!sockets.holds(key) && !(sockets.hold(key) && sockets.secure(key))) lacking.push_back(key);
  }
  return lacking;
}

void IngressDriver::releaseUnused(const std::vector<PortKey>& candidates) {
  for (auto& key : candidates) {
    if (!ports.published(key)) sockets.release(key);
  }
}

Task<Publication> IngressDriver::publish(std::string taskId, TaskAddress address,
                                         std::vector<TaskPort> wanted) {
  checkTaskId(taskId.c_str());
  auto turn = co_await turns.take(taskId);
  auto known = published.find(taskId);
  if (known != published.end()) co_return Publication(known->second);

  auto publication = reserve(taskId, address, kj::mv(wanted));
  published.insert_or_assign(taskId, publication);
  changedRecords.push_back(taskId);
  auto settled = co_await attempt(settle());
  if (settled.ok()) {
    co_await secure(publication);
    co_return kj::mv(publication);
  }
  auto undone = co_await attempt(remove(publication));
  if (!undone.ok()) {
    log.warn("network.clean-up-failed", {{"task", taskId.c_str()}, {"reason", undone.message()}});
  }
  fail(kj::str("cannot publish the task's ports: ", settled.message()));
}

// Other nodes lead to this one's first task by the mesh.
Task<void> IngressDriver::settle() {
  if (mesh != others.facts()) co_await join();
  co_await sync();
}

Task<void> IngressDriver::secure(const Publication& publication) {
  for (auto& port : publication.ports) {
    if (sockets.holds(keyOf(port)) && sockets.secure(keyOf(port))) continue;
    auto text = kj::str(portsPrefix(port.published, port.protocol),
                        " on this node: another program has just taken it");
    co_await remove(publication);
    fail(kj::mv(text));
  }
}

Task<void> IngressDriver::setActive(std::string taskId, bool active) {
  auto turn = co_await turns.take(taskId);
  auto known = published.find(taskId);
  if (known == published.end()) {
    if (!active) co_return;  // gone: nothing leads to it
    fail(kj::str("cannot lead traffic to a task that has published nothing"));
  }
  if (known->second.active == active) co_return;
  switchTo(known->second, active);
  auto done = co_await attempt(sync());
  if (done.ok()) co_return;
  switchTo(published.at(taskId), !active);
  fail(kj::str("cannot ", active ? "lead traffic to" : "take traffic from",
               " a task: ", done.message()));
}

void IngressDriver::switchTo(Publication& publication, bool active) {
  publication.active = active;
  changedRecords.push_back(publication.taskId);
  if (active) {
    ports.activate(publication);
    return;
  }
  ports.deactivate(publication);
  forgetClients(publication);
}

void IngressDriver::forgetClients(const Publication& publication) {
  bool udp = std::any_of(publication.ports.begin(), publication.ports.end(),
                         [](auto& port) { return port.protocol == IPPROTO_UDP; });
  // UDP has no end of a connection: without this its clients would stay for ever. TCP's clients
  // are told by the task's end; to look for them costs milliseconds.
  if (!udp) return;
  forget.push_back({publication.address, IPPROTO_UDP});
  if (publication.address6) names[*publication.address6] = publication.address;
}

Task<void> IngressDriver::withdraw(std::string taskId) {
  if (!isId(taskId.c_str())) co_return;
  auto turn = co_await turns.take(taskId);
  auto known = published.find(taskId);
  if (known == published.end()) co_return;
  auto publication = known->second;
  co_await remove(kj::mv(publication));
}

Task<void> IngressDriver::remove(Publication publication) {
  ports.withdraw(publication);
  forgetClients(publication);
  published.erase(publication.taskId);
  changedRecords.push_back(publication.taskId);
  co_await sync();
  releaseUnused(keysOf(publication));
}

Task<void> IngressDriver::retain(std::vector<std::string> taskIds) {
  std::set<std::string> keep(taskIds.begin(), taskIds.end());
  kj::Vector<kj::Promise<void>> removals;
  for (auto& [taskId, publication] : published) {
    if (keep.count(taskId) == 0) removals.add(withdraw(taskId));
  }
  auto all = kj::joinPromises(removals.releaseAsArray());
  co_await all;
  rebuild = true;
  co_await sync();
}

// ---- the kernel ---------------------------------------------------------------------------------

kj::Promise<void> IngressDriver::sync() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiters.push_back(kj::mv(pair.fulfiller));
  if (!flushing) {
    flushing = true;
    tasks.add(flush());
  }
  return kj::mv(pair.promise);
}

Task<void> IngressDriver::flush() {
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
      if (failure == nullptr) tell("rules.restored");
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
Task<kj::Maybe<kj::Exception>> IngressDriver::flushSafely() {
  auto outcome = co_await attempt(flushOnce());
  if (!outcome.ok()) co_return kj::mv(outcome.error());
  co_return kj::mv(outcome.value());
}

TableWork IngressDriver::tableWork() {
  bool leaving = std::exchange(leave, false);
  bool whole = std::exchange(rebuild, false);
  if (idle() && !tableThere) return TableWork::NONE;
  if (idle() && leaving) return TableWork::REMOVE;
  return whole ? TableWork::REBUILD : TableWork::CHANGE;
}

Task<kj::Maybe<kj::Exception>> IngressDriver::flushOnce() {
  if (!netfilter) netfilter = std::make_shared<NetlinkSocket>(NETLINK_NETFILTER);
  RuleChange change;
  change.table = tableWork();
  change.mesh = mesh;
  bool whole = change.table != TableWork::CHANGE;
  change.ports = whole ? ports.everything() : ports.changes();
  change.nodesBefore = inKernel;
  if (mesh.own != 0) change.nodesAfter = others.addresses();
  auto tasksAgain = std::exchange(changedRecords, {});
  auto nodesAgain = others.takeChanged();
  std::vector<Record> records;
  for (auto& taskId : tasksAgain) {
    auto known = published.find(taskId);
    auto text = known == published.end() ? "" : encodePublication(known->second);
    records.push_back({layout.records(), taskId, text});
  }
  for (auto& name : nodesAgain) records.push_back(others.record(layout, name));
  for (auto& record : records) {
    (record.text.empty() ? change.goneRecords : change.records).push_back(kj::mv(record));
  }
  change.forget = kj::mv(forget);
  forget.clear();
  change.names = std::exchange(names, {});
  for (auto& [taskId, publication] : published) {
    if (publication.address6) change.names[*publication.address6] = publication.address;
  }
  auto work = [layout = layout, socket = netfilter, change] {
    return apply(layout, *socket, change);
  };
  auto applied = kj::evalNow([&]() { return env.workers().run(kj::mv(work)); });
  auto outcome = co_await attempt(kj::mv(applied));
  if (!outcome.ok()) {
    changedRecords.insert(changedRecords.end(), tasksAgain.begin(), tasksAgain.end());
    others.putBack(nodesAgain);
    rebuild |= whole;
    forget.insert(forget.end(), change.forget.begin(), change.forget.end());
    names.insert(change.names.begin(), change.names.end());
    co_return kj::mv(outcome.error());
  }
  tableThere = change.table == TableWork::CHANGE || change.table == TableWork::REBUILD;
  rebuild |= !tableThere;
  inKernel = tableThere ? change.nodesAfter : std::set<Ipv4>();
  if (whole) {
    ports.confirmAll(change.ports);
  } else {
    ports.confirm(change.ports);
  }
  if (!outcome.value().empty()) {
    log.warn("network.flows-kept", {{"reason", outcome.value().c_str()}});
  }
  co_return nullptr;
}

}  // namespace orch::network::ingress
