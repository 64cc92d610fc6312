// Containers that exist in memory only, on the Env's timer: in virtual time the same seed and the
// same calls give the same lives to the nanosecond. Forgotten when the plugin ends.
#pragma once

#include <kj/refcount.h>

#include <map>
#include <vector>

#include "orch/env.h"
#include "script.h"

namespace orch::runtime::sim {

struct Line {
  int64_t timeNs;
  bool isError;
  std::string text;
};

// Hears what a container writes while it runs.
class Listener {
 public:
  virtual void heard(kj::ArrayPtr<const kj::byte> bytes) = 0;
};

// Shared by the table and the calls that wait for it.
class Container final : public kj::Refcounted {
 public:
  enum class Stage { CREATING, CREATED, RUNNING, EXITED };

  Container(std::string id, Script script);

  const std::string id;
  const Script script;
  Stage stage = Stage::CREATING;
  std::string taskName;
  std::vector<std::pair<std::string, std::string>> labels;
  int stopSignal = 0;
  int64_t startedAtNs = 0;
  int64_t exitedAtNs = 0;
  int exitCode = 0;
  std::vector<Line> lines;
  size_t checked = 0;  // programs that were run in it
  bool hasTerminal = false;
  bool isInteractive = false;
  int64_t memoryLimitBytes = 0;  // 0: none
  std::vector<Listener*> listeners;

  // Settles when it has exited; at once if it has.
  kj::Promise<void> whenExited() { return exited.addBranch(); }
  void exit(int code, int64_t nowNs);
  void hear(int signal, int64_t nowNs);
  // Settles when it runs or will not any more.
  kj::Promise<void> whenStarted() { return started.addBranch(); }
  void setStarted() { startSeen->fulfill(); }
  void describe(schema::Container::Builder to) const;
  void describeExit(schema::ExitStatus::Builder to) const;

 private:
  Container(std::string id, Script script, kj::PromiseFulfillerPair<void> start,
            kj::PromiseFulfillerPair<void> exit);
  kj::Own<kj::PromiseFulfiller<void>> startSeen;
  kj::Own<kj::PromiseFulfiller<void>> exitSeen;
  kj::ForkedPromise<void> started;
  kj::ForkedPromise<void> exited;
};

struct RunResult {
  int exitCode = 0;
  bool timedOut = false;
  std::string output;
};

class SimRuntime final : private kj::TaskSet::ErrorHandler {
 public:
  SimRuntime(Env& env, kj::Duration createDelay, kj::Duration startDelay);
  KJ_DISALLOW_COPY(SimRuntime);

  // The promise, for as long as this object lives: a call that is under way when it goes fails.
  template <typename T>
  kj::Promise<T> whileAlive(Task<T> task) {
    return canceler.wrap(kj::mv(task).promise());
  }

  // As in sdk/schema/runtime.capnp.
  Task<kj::Own<Container>> create(schema::ContainerRequest::Reader request);
  Task<kj::Own<Container>> start(kj::String id);
  Task<kj::Own<Container>> wait(kj::String id);
  Task<kj::Own<Container>> stop(kj::String id, kj::String signal, uint64_t graceMs);
  void remove(kj::StringPtr id);
  Task<void> logs(kj::String id, schema::LogOptions::Reader options, schema::LogSink::Client sink,
                  kj::StringPtr nodeId);
  std::vector<kj::Own<Container>> list();
  // One that runs. Fails if there is none.
  kj::Own<Container> runningOne(kj::StringPtr id);
  // Of those of `ids` that run: what their scripts say.
  void usage(capnp::List<capnp::Text>::Reader ids, schema::Runtime::UsageResults::Builder results);
  // `exit CODE OUTPUT` does that, `stay` stays, `missing` is missing; all else ends at once, as the
  // container's SIM_CHECKS say.
  Task<RunResult> run(kj::String id, std::vector<std::string> command, kj::Duration limit);

 private:
  struct Entry {
    kj::Own<Container> container;
    kj::Maybe<kj::ForkedPromise<void>> creating;
    kj::Maybe<kj::ForkedPromise<void>> starting;
  };
  void taskFailed(kj::Exception&& exception) override;
  Entry& find(kj::StringPtr id);
  kj::ForkedPromise<void> keepGoing(Task<void> operation);
  Task<void> runCreate(kj::Own<Container> container);
  Task<void> runStart(kj::Own<Container> container);
  Task<void> endLater(kj::Own<Container> container, kj::Duration after);
  void deliver(Container& container, int signal) { container.hear(signal, env.nowNs()); }

  Env& env;
  kj::Duration createDelay;
  kj::Duration startDelay;
  std::map<std::string, Entry> containers;
  kj::TaskSet tasks;
  kj::Canceler canceler;  // last: what it ends uses all of the above
};

}  // namespace orch::runtime::sim
