// The node's other plugins as the agent calls them, and how it insists.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "config.capnp.h"
#include "lib/task-feed.h"
#include "mesh-table.h"
#include "network-tables.h"
#include "orch/attempt.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/image.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "orch/semaphore.h"
#include "resource-gate.h"

namespace orch::control::agent {

// A call that meets a plugin between two lives is made again: after 100 ms, doubled, at most 8
// times.
constexpr int CALL_ATTEMPTS = 8;
constexpr uint64_t FIRST_PAUSE_MS = 100;
// What has to be done sooner or later is tried again for as long as it takes, at most this far
// apart.
constexpr uint64_t MAX_PAUSE_MS = 10'000;
// How long a task waits for a plugin to start. More than one that is isolated needs on a busy node.
constexpr uint64_t START_PATIENCE_MS = 15'000;
// Of a call that carries little more than a task's id. Cap'n Proto would take 8 KiB for it.
constexpr capnp::MessageSize SMALL{32, 2};
// Namespaces and containers that are being made at once: enough for every core, and no more, since
// each takes memory that the process does not get rid of again.
constexpr unsigned MADE_AT_ONCE = 8;

// The plugin is between two lives, or has too much to do: trying again may help.
inline bool isPassing(const kj::Exception& exception) {
  return exception.getType() == kj::Exception::Type::DISCONNECTED ||
         exception.getType() == kj::Exception::Type::OVERLOADED;
}

// `make` starts the call; it is no coroutine and outlives this one.
template <typename Make>
auto insist(Env& env, Make make) -> Task<decltype(make().wait(kj::instance<kj::WaitScope&>()))> {
  for (int tries = 1;; ++tries) {
    auto call = make();
    auto outcome = co_await attempt(kj::mv(call));
    if (outcome.ok()) co_return kj::mv(outcome.value());
    bool again = isPassing(outcome.error()) && tries < CALL_ATTEMPTS;
    if (!again) kj::throwFatalException(kj::mv(outcome.error()));
    co_await env.timer().afterDelay((FIRST_PAUSE_MS << tries) * kj::MILLISECONDS);
  }
}

// What lets go of leftovers: of tasks that were never acknowledged, or are gone since.
class LeftoverCleaner {
 public:
  virtual ~LeftoverCleaner() noexcept(false) {}
  virtual Task<void> clear(kj::String service) = 0;
};

class NodeServices final {
 public:
  NodeServices(Env& env, Host& host, Config::Reader settings, LeftoverCleaner& cleaner,
               TaskFeed::Source& tasks);

  // `runtime.<name>`; for an empty name the best that runs here. Fails if there is none.
  Task<kj::String> runtimeFor(kj::StringPtr name);
  // Names of those that run, best first.
  Task<kj::Vector<kj::String>> runtimes();
  Task<kj::Vector<kj::String>> running(kj::StringPtr prefix);

  schema::Runtime::Client runtime(kj::StringPtr service) {
    return named(service).castAs<schema::Runtime>();
  }
  schema::ImageStore::Client images() {
    return named(settings.getImage()).castAs<schema::ImageStore>();
  }
  schema::NetworkDriver::Client network(kj::StringPtr name) {
    return named(kj::str("network.", name)).castAs<schema::NetworkDriver>();
  }
  schema::LegDriver::Client legs() { return named(LEGS).castAs<schema::LegDriver>(); }
  schema::PortPublisher::Client ports() { return named(PORTS).castAs<schema::PortPublisher>(); }
  schema::NameServer::Client names() { return named(NAMES).castAs<schema::NameServer>(); }
  // Of any plugin of the kind `network`.
  schema::NetworkChecker::Client checker(kj::StringPtr service) {
    return named(service).castAs<schema::NetworkChecker>();
  }
  // Whether it has been seen running: then it is there, or comes again.
  bool hasRun(kj::StringPtr service) const { return seen.count(service.cStr()) > 0; }
  // Fails with what is missing if no plugin has offered `service` in this life of the kernel, after
  // waiting a while: at a start, this one may be among the last.
  Task<void> mustRun(kj::StringPtr service);

  // Settles when the plugin behind `service` has let go of what belongs to no task. Begun by the
  // first who asks, tried for as long as it takes; nothing new is made there before.
  kj::Promise<void> cleared(kj::StringPtr service);

  Env& env;
  Host& host;
  Config::Reader settings;
  const kj::String architecture;  // the node's
  Semaphore making{MADE_AT_ONCE};
  ResourceGate resources;
  schema::ImageFinder::Client otherNodes = nullptr;  // that have an image
  NetworkTables networks;
  MeshTable mesh;
  TaskFeed feed;

 private:
  LeftoverCleaner& cleaner;
  capnp::Capability::Client named(kj::StringPtr service);
  std::map<std::string, capnp::Capability::Client> clients;  // of every service asked for
  std::set<std::string> seen;
  std::map<std::string, kj::ForkedPromise<void>> clearings;
};

}  // namespace orch::control::agent
