// One cluster's entries in a ZooKeeper: watches them, and registers by ephemeral nodes.
#pragma once

#include <kj/refcount.h>

#include <map>

#include "lib/watchers.h"
#include "orch/schema/discovery.capnp.h"
#include "orch/semaphore.h"
#include "place.h"
#include "zookeeper/client.h"

namespace orch::discovery::zookeeper {

// Counted by the plugin's instance and by the capability it has handed out, which may live longer.
class ZookeeperBackend final : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  // `env` outlives it. The connection is made at once.
  ZookeeperBackend(Env& env, Place place, orch::zookeeper::ClientSettings settings,
                   kj::Duration timeout);

  // Until it is cancelled.
  Task<void> follow();
  void end() { watchers->end(); }

  Task<void> watch(schema::DiscoverySink::Client sink) { return watchers->watch(kj::mv(sink)); }
  Task<void> put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs);  // read before it returns
  Task<void> remove(std::string address);

 private:
  // One that was registered here.
  struct Registered {
    std::string details;
    bool over = false;  // its time is, and its nodes are still to go
    kj::Promise<void> ending = nullptr;
  };
  void turned(bool up);
  // Tells what is there, and waits until it may have changed.
  Task<void> look();
  Task<std::map<std::string, std::string>> read(const std::vector<std::string>& names);
  // What was registered here stands in the session that there is now, and what is over is gone.
  Task<void> tidy();
  // Nothing if somebody else was faster.
  Task<std::optional<bool>> enter(std::string address, std::string details);
  Task<void> enterInTime(std::string address, std::string details);
  Task<std::optional<bool>> erase(std::string address, bool onlyOwn);
  Task<void> expire(std::string address);
  Task<void> makeFolder(std::string path);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  const Place place;
  const kj::Duration timeout;
  orch::zookeeper::Client client;
  std::map<std::string, Registered> own;  // by address
  // One change at a time, in the order of asking: each looks first, and then writes.
  Semaphore writing{1};
  kj::Own<Watchers> watchers = kj::refcounted<Watchers>();
  kj::Own<kj::PromiseFulfiller<void>> lookAgain;
  kj::Promise<void> complaint = nullptr;  // that nobody answers, when that has lasted
  kj::TaskSet tasks{*this};
};

schema::Discovery::Client newZookeeperServer(kj::Own<ZookeeperBackend> backend);

}  // namespace orch::discovery::zookeeper
