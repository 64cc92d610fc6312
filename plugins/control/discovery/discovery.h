// All backends of a node: their union, the guard against mass loss, and this node's own entry.
#pragma once

#include <map>

#include "backend.h"
#include "config.capnp.h"
#include "orch/plugin.h"
#include "union-table.h"

namespace orch::control::discovery {

// Counted by the plugin's instance and by the service, which may live longer. On the loop's thread.
class Discovery final : public kj::Refcounted,
                        public BackendOwner,
                        public kj::TaskSet::ErrorHandler {
 public:
  static constexpr size_t MAX_BACKENDS = 64;

  Discovery(Env& env, Host& host, Config::Reader settings);
  ~Discovery() noexcept(false) override;

  Task<void> start();
  void end();

  void list(schema::NodeDiscovery::ListResults::Builder results);
  Task<void> watch(schema::DiscoverySink::Client sink);
  void announce(schema::DiscoveryEntry::Reader entry);
  Task<kj::String> create(kj::String hub);
  // Looks which backends run. Called at each plugin.started.
  Task<void> rescan();

 private:
  void answered(kj::StringPtr backend,
                capnp::List<schema::DiscoveryEntry>::Reader entries) override;
  void gone(kj::StringPtr backend) override;
  kj::Maybe<schema::DiscoveryEntry::Reader> announced() override;
  void taskFailed(kj::Exception&& exception) override;
  void changed();
  void armExpiry();
  int64_t nowMs();

  Env& env;
  Host& host;
  UnionTable table;
  int64_t graceMs;
  BeatTimes times;
  std::map<std::string, kj::Own<Backend>> backends;
  kj::Maybe<kj::Own<capnp::MallocMessageBuilder>> own;  // what was announced
  capnp::Capability::Client subscription = nullptr;
  uint64_t told = 0;
  bool ended = false;
  kj::Own<kj::PromiseFulfiller<void>> change;
  kj::ForkedPromise<void> whenChanged;
  kj::Promise<void> expiry = nullptr;
  kj::TaskSet tasks;
};

schema::NodeDiscovery::Client newDiscoveryService(kj::Own<Discovery> discovery);
// Rescans when a plugin has started.
schema::EventSink::Client newStartedSink(kj::Own<Discovery> discovery);

}  // namespace orch::control::discovery
