// Logs of a service or a task: the agents' streams as one, in order of time, and while they are
// followed those of the tasks that start meanwhile.
#pragma once

#include <set>

#include "manager.h"
#include "orch/schema/runtime.capnp.h"
#include "session/sessions.h"

namespace orch::control::manager {

class LogStreams final : public ChangeObserver {
 public:
  LogStreams(Env& env, Manager& manager, Sessions& sessions);
  ~LogStreams() noexcept(false);

  // Ends when all streams have ended; one that is followed when the caller drops it, or when the
  // service is gone. Fails if logs are missing, after what there is has been sent.
  kj::Promise<void> stream(kj::StringPtr typed, schema::LogOptions::Reader options,
                           schema::LogSink::Client sink);

  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void applied() override;

 private:
  class Subscription;
  Task<void> run(kj::Own<Subscription> subscription);

  Env& env;
  Manager& manager;
  Sessions& sessions;
  std::set<Subscription*> followers;
  std::set<std::string> touched;  // services, in the batch that is being applied
};

}  // namespace orch::control::manager
