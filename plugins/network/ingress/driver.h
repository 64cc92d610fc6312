// The published ports of one node: keeps the books (who publishes what, which other nodes have
// tasks) on the loop, and has worker threads do what the kernel does. Every change goes through one
// queue, in which all that waits is done in one transaction.
//
// What a task publishes (publication.h), and what other nodes have (others.h), is in a record
// before the kernel leads anything there, and the kernel does before a call is answered: the next
// orchd finds both, and goes on leading before anybody tells it anything.
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
#include "orch/task.h"
#include "others.h"
#include "port-sockets.h"
#include "port-table.h"
#include "transaction.h"

namespace orch::network::ingress {

// On the loop's thread. Shared by the plugin and the service that it offers; what is under way when
// the last of them goes is not undone, the next run's `retain` sees to it.
class IngressDriver final : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  // How long `start` waits for another owner of the table: one that was killed lets go of it a
  // moment after it has stopped running.
  static constexpr kj::Duration PATIENCE = 3 * kj::SECONDS;
  // Whether all is there that should be, and ports that another program had are free.
  static constexpr kj::Duration LOOK_EVERY = 5 * kj::SECONDS;

  // Gets the topic of each event, until `tellNobody`: `rules.restored` when what somebody took away
  // of rules or mesh is back, `ports.changed` when `update` would answer otherwise than it did.
  using Events = kj::Function<void(kj::StringPtr topic)>;
  IngressDriver(Env& env, Log log, Layout layout, Events events, kj::Duration patience = PATIENCE);
  KJ_DISALLOW_COPY(IngressDriver);

  // Reads the records of the last run; changes nothing. Damaged ones are reported and forgotten.
  Task<void> recover();
  // Puts the recovered ports in place again, those of other nodes too. Fails, changing nothing,
  // without the privileges, and if another orchd has the table.
  Task<void> start();
  // With nothing published, here or elsewhere, takes everything away; else, and if it never
  // started, all stays as it is: connections go on without orchd.
  Task<void> stop();
  // Nobody is told of anything any more.
  void tellNobody() { events = nullptr; }

  // As in network.capnp. What is returned is a copy.
  Task<Publication> publish(std::string taskId, TaskAddress address, std::vector<TaskPort> ports);
  Task<void> setActive(std::string taskId, bool active);
  Task<void> withdraw(std::string taskId);
  Task<void> retain(std::vector<std::string> taskIds);
  Task<std::vector<std::string>> update(MeshNews news);
  // In driver-check.cpp. What the kernel has against the books.
  Task<Findings> check(bool repair);
  // Tasks that traffic is led to.
  std::vector<std::string> active() const;

 private:
  void taskFailed(kj::Exception&& exception) override;
  Task<void> claim();

  void tell(kj::StringPtr topic);

  // Ports for a new task; fails with a text that says what is lacking, and changes nothing then.
  Publication reserve(std::string taskId, const TaskAddress& address, std::vector<TaskPort> ports);
  void choosePort(TaskPort& port, std::vector<PortKey>& held);
  Task<void> settle();
  Task<void> secure(const Publication& publication);
  // In the books; `sync` does the rest.
  void switchTo(Publication& publication, bool active);
  void forgetClients(const Publication& publication);
  Task<void> remove(Publication publication);
  void adopt(Publication publication);
  // Ports that are led somewhere; those that a program has are returned.
  std::vector<PortKey> holdAll();
  void releaseUnused(const std::vector<PortKey>& candidates);

  // Nothing is published that connections by this node could lead to.
  bool idle() const;

  // The following in driver-mesh.cpp, in the turn of the mesh, which `join` takes by itself.
  // The mesh as it was told of, with all nodes.
  Task<void> meet();
  // The same if it is not there; says why it cannot be.
  Task<void> join();
  // If this node is idle: takes table and mesh away, once no connection by them is open.
  Task<void> sweep();
  // To the other nodes' tasks, by the ports that this node can have.
  Task<void> lead();
  Task<Findings> compare();
  Task<void> mend();
  Shares takeShares();
  // Whether somebody took a part of the mesh or the table away, or let go of a port.
  Task<void> look();
  Task<void> keepLooking();
  void complain(kj::StringPtr reason);  // once, until all was well

  // Settles when the kernel has what the books say now.
  kj::Promise<void> sync();
  Task<void> flush();
  Task<kj::Maybe<kj::Exception>> flushSafely();
  TableWork tableWork();
  Task<kj::Maybe<kj::Exception>> flushOnce();

  Env& env;
  Log log;
  Layout layout;
  kj::Maybe<Events> events;
  const kj::Duration patience;
  Claims claims;
  PortTable ports;
  PortSockets sockets;
  std::map<std::string, Publication> published;
  Turns turns;

  MeshFacts mesh;  // as it was prepared
  Others others;
  std::vector<std::string> untaken;  // ports of theirs that this node does not answer on
  std::string complaint;
  std::set<Ipv4> met;       // nodes that the mesh knows the way to
  std::set<Ipv4> inKernel;  // nodes in the table

  // Owned by the driver and by the transaction under way, which may end after it; null before the
  // first.
  std::shared_ptr<NetlinkSocket> netfilter;
  // May be there; of this run or the last.
  bool tableThere = true;
  bool meshThere = true;
  // For the next transaction.
  bool rebuild = true;
  bool leave = false;  // if nothing is published by then
  std::vector<std::string> changedRecords;
  std::vector<FlowsTo> forget;
  std::map<Ipv6, Ipv4> names;     // of tasks that are in `forget`
  std::vector<FlowsTo> unshared;  // to be forgotten once nothing leads there
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiters;
  bool flushing = false;
  bool stopped = false;

  kj::TaskSet tasks;  // last: what runs uses all of the above
};

}  // namespace orch::network::ingress
