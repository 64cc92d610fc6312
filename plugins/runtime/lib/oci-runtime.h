// The kind `runtime` on an OCI runtime and conmon: what runtime.crun and runtime.runc share.
//
// Each container goes CREATING, CREATED, RUNNING, EXITED and is then removed. The table is only
// touched on the loop; files, mounts and /proc are touched on worker threads. Dropping the object
// leaves the containers as they are: a new one on the same folders finds them in `recover`.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "container.h"
#include "inotify.h"
#include "log-file.h"
#include "mount-sources.h"
#include "orch/env.h"
#include "orch/plugin.h"
#include "orch/semaphore.h"
#include "prepare.h"
#include "process-usage.h"

namespace orch::runtime {

// What sdk/schema/runtime.capnp has of a container's resources and processes.
struct OciUsage {
  std::string id;
  int64_t atNs = 0;
  CgroupUsage own;
  NetworkUsage network;
};
struct OciProcesses {
  std::vector<ProcessFacts> some;
  std::vector<std::string> users;  // of each
  uint32_t more = 0;
};

class OciRuntime final : private kj::TaskSet::ErrorHandler {
 public:
  OciRuntime(Env& env, Host& host, Options options);
  KJ_DISALLOW_COPY(OciRuntime);

  // Why this node cannot run containers this way and what to do about it; null if it can. Also
  // finds out the versions.
  Task<kj::Maybe<kj::String>> probe();
  // Takes over what the last run left; takes away what it left half-made. Once, first.
  Task<void> recover();
  // Waits for what is being created, started or removed. The containers stay. A creation that waits
  // for something outside fails with DISCONNECTED, as does one that is asked for from now on.
  Task<void> drain();

  // The promise, for as long as this object lives: a call that is under way when it goes fails.
  template <typename T>
  kj::Promise<T> whileAlive(Task<T> task) {
    return canceler.wrap(kj::mv(task).promise());
  }

  kj::StringPtr version() const { return versionText; }
  kj::StringPtr cgroups() const { return maker->cgroups.modeName(); }
  kj::StringPtr name() const { return maker->options.name.c_str(); }

  // As in sdk/schema/runtime.capnp. An operation goes on if its caller leaves.
  Task<kj::Own<Container>> create(schema::ContainerRequest::Reader request,
                                  kj::Maybe<schema::Waiting::Client> listener);
  Task<kj::Own<Container>> start(kj::String id);
  Task<kj::Own<Container>> wait(kj::String id);
  Task<kj::Own<Container>> stop(kj::String id, kj::String signal, uint64_t graceMs);
  Task<void> remove(kj::String id);
  Task<void> logs(kj::String id, schema::LogOptions::Reader options, schema::LogSink::Client sink);
  Task<RunResult> run(kj::String id, std::vector<std::string> command, uint64_t timeoutMs,
                      uint32_t maxOutputBytes);
  Task<schema::RunningProgram::Client> exec(kj::String id, schema::Program::Reader program,
                                            schema::ProgramOutput::Client output);
  struct Attached {
    schema::RunningProgram::Client running;
    bool terminal;
    bool takesInput;
  };
  Attached attach(schema::Runtime::AttachParams::Reader wish);
  // Of those that run.
  Task<std::vector<OciUsage>> usage(std::vector<std::string> ids);
  Task<OciProcesses> processes(kj::String id);
  std::vector<kj::Own<Container>> list();
  Task<std::vector<VolumeInfo>> volumes();
  Task<bool> removeVolume(kj::String name);
  Task<std::vector<std::string>> pruneVolumes();

 private:
  // Into volumes, at once: a large one shall not hold up everything else.
  static constexpr unsigned MAX_COPIES = 2;
  using Request = std::shared_ptr<capnp::MallocMessageBuilder>;  // of the loop and one worker job
  using ProgramWish = std::shared_ptr<capnp::MallocMessageBuilder>;  // the same
  struct Entry {
    kj::Own<Container> container;
    kj::Maybe<kj::ForkedPromise<void>> creating;
    kj::Maybe<kj::ForkedPromise<void>> starting;
    kj::Maybe<kj::ForkedPromise<void>> removing;
  };
  struct Left;  // of the last run
  class Patience;

  void taskFailed(kj::Exception&& exception) override;
  void refuseIfDraining(kj::StringPtr id);
  // Fails if there is none, or if it cannot be used.
  Entry& find(kj::StringPtr id);
  kj::Own<Container> runningOne(kj::StringPtr id);
  // Makes the operation go on by itself; its error is for those who wait for it.
  kj::ForkedPromise<void> keepGoing(Task<void> operation);

  Task<void> runCreate(kj::Own<Container> container, Request request);
  Task<void> make(Container& container, Request request, kj::Maybe<Semaphore::Pass> pass);
  Task<void> seeSources(Container& container, Preparation& preparation);
  Task<void> fillVolumes(Container& container, std::shared_ptr<Preparation> preparation);
  Task<void> waitFor(kj::Promise<void> event, Patience& patience);
  kj::Promise<void> proceed(std::shared_ptr<Preparation> preparation, bool mayCopy);
  Task<void> runConmon(Container& container, kj::Maybe<Semaphore::Pass>& pass);
  // Gives it to others if it is still held in some seconds, unless dropped before.
  kj::Promise<void> passOnIfSlow(kj::Maybe<Semaphore::Pass>& pass);
  void sayWaiting(Container& container, kj::StringPtr reason);
  Task<void> runStart(kj::Own<Container> container);
  // When the container's process is the user's program, though the runtime has not noticed.
  Task<CommandResult> whenBegun(kj::Own<Container> container);
  bool runs(const Container& container) const;
  bool hasBegun(const Container& container) const;
  Task<void> runRemove(kj::Own<Container> container);
  Task<void> deleteState(kj::String id);
  Task<void> takeAway(kj::Own<Container> container);
  Task<void> endConmon(kj::Own<Container> container);
  Task<void> saveState(const Container& container);
  Task<RunResult> runIn(Container& container, std::vector<std::string> command, uint64_t timeoutMs,
                        uint32_t maxOutputBytes);
  Task<kj::Own<Runner>> startRunner(Container& container);
  // Brings a runner into the container. `writeProcess` makes its process.json of the bundle's
  // configuration, on a worker thread. `fds` are further ones that it gets, from RUNNER_STDIO_FD
  // on.
  using WriteProcess = std::function<std::string(const std::string& config)>;
  struct Entered {
    kj::Own<kj::AsyncCapabilityStream> socket;
    kj::AutoCloseFd process;  // pidfd
  };
  Task<Entered> enter(Container& container, WriteProcess writeProcess,
                      kj::Vector<ProcessSpec::Fd> fds);
  Task<schema::RunningProgram::Client> execIn(kj::Own<Container> container, ProgramWish program,
                                              schema::ProgramOutput::Client output);
  // Until the file says what `state` says, or the container is removed.
  void saveInTheEnd(Container& container);
  Task<void> keepSaving(kj::Own<Container> container);

  // From its creation on. What waits is small: all else is made at the end.
  void watch(Container& container);
  Task<void> end(kj::Own<Container> container);
  Task<void> endWithoutConmon(kj::Own<Container> container);
  Task<void> waitForExitFile(kj::Own<Container> container);
  Task<void> noteExit(kj::Own<Container> container);
  bool hasExitFile(const Container& container) const;
  kj::Promise<void> afterMs(uint64_t ms) { return env.timer().afterDelay(ms * kj::MILLISECONDS); }

  // Looks at the size of the log from now on, while the container runs.
  void keepLogOf(Container& container);
  Task<void> keepLogs();
  Task<void> lookAtDueLogs();
  void noteLook(Container& container, const LogLook& look);
  void noteLogTrouble(Container& container, kj::StringPtr trouble);

  void watchExits();
  static Left findLeft(const BundleMaker& maker, const std::string& id);
  Task<void> takeOver(Left left);
  Task<void> adopt(kj::Own<Container> container);
  // It is listed, but nothing is done to it before somebody removes it.
  void leaveAlone(std::string id, kj::StringPtr reason);
  // Whatever there is of a half-made container, its processes first.
  Task<void> clear(kj::String id);
  Task<void> endProcesses(std::string id);
  Task<bool> hasStarted(kj::Own<Container> container);
  // Fails if it takes too long.
  Task<CommandResult> runtimeCommand(kj::String verb, kj::String id, bool force);
  // `spec` has the command and its options.
  Task<CommandResult> runtimeCommand(ProcessSpec spec, kj::String id);

  Env& env;
  Host& host;
  std::shared_ptr<BundleMaker> maker;  // of this object and its jobs on worker threads
  kj::String versionText;
  Semaphore places;
  Semaphore copying{MAX_COPIES, "too many containers wait to fill a volume"_kj};
  MountSources sources;
  kj::AutoCloseFd runnerFile;  // once one was needed
  uint64_t runners = 0;
  kj::Maybe<Inotify> inotify;
  kj::Maybe<kj::Own<Inotify::Watch>> exits;
  std::map<std::string, Entry> containers;
  bool keepingLogs = false;
  kj::TimePoint nextLook = kj::origin<kj::TimePoint>();  // while keepingLogs
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> lookSooner;
  bool draining = false;
  bool diskFull = false;
  kj::TaskSet tasks;
  kj::Canceler canceler;  // last: what it ends uses all of the above
};

}  // namespace orch::runtime
