// What the managers say of other nodes' published ports, passed on to the plugin that leads
// connections there. It is told what has changed; what comes meanwhile is one change. Until a
// manager has named all nodes, the plugin is not told that these are all: it would break off
// connections that go on since before this orchd.
#pragma once

#include <capnp/message.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/task.h"
#include "told-check.h"

namespace orch::control::agent {

class MeshTable final : private kj::TaskSet::ErrorHandler {
 public:
  using Find = std::function<schema::PortPublisher::Client()>;
  MeshTable(Env& env, Log& log, Find find);
  KJ_DISALLOW_COPY(MeshTable);

  // From here on comes the whole, until `end`.
  void begin(bool complete);
  void take(schema::MeshNode::Reader node);
  void forget(kj::StringPtr nodeId);
  void end();
  // This node, as it describes itself.
  void describe(schema::NodeDescription::Reader description);
  // The plugin has started anew, and goes by what it was told before.
  void restarted();
  // What it answers by now may be something else.
  void ask();
  // Ports that it does not answer on, each with the reason; `changed` is called with each change.
  const std::set<std::string>& untaken() const { return complained; }
  void observeUntaken(std::function<void()> changed) { untakenChanged = std::move(changed); }
  // What the managers have told.
  void describe(ToldThings& things) const;
  // When the plugin has what there is by then.
  kj::Promise<void> settled();

 private:
  void tell();
  Task<void> keepTelling();
  Task<void> send();
  void note(capnp::List<capnp::Text>::Reader untaken);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Log& log;
  Find find;
  std::map<std::string, std::unique_ptr<capnp::MallocMessageBuilder>> nodes;
  bool heard = false;               // a manager has named all of them
  std::string address;              // of this node; empty: it is alone
  std::vector<std::string> inside;  // its local networks
  // To be told.
  bool whole = false;
  std::set<std::string> changed;
  bool asking = false;
  bool telling = false;
  bool toldOnce = false;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiters;  // while it is telling
  std::set<std::string> complained;                          // of ports
  std::function<void()> untakenChanged;
  kj::TaskSet tasks;
};

}  // namespace orch::control::agent
