// One container as the plugin holds it: a few hundred bytes, two descriptors while it lives, and
// two more once a program was run in it.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/refcount.h>

#include <string>
#include <vector>

#include "log-schedule.h"
#include "orch/schema/runtime.capnp.h"
#include "record.h"
#include "runner.h"

namespace orch::runtime {

// Shared by the table and the operations that run on it.
class Container final : public kj::Refcounted {
 public:
  enum class Stage { CREATING, CREATED, RUNNING, EXITED };

  explicit Container(std::string id);

  const std::string id;
  Stage stage = Stage::CREATING;
  StateFile state;
  kj::AutoCloseFd process;  // pidfd of its init, until it has exited
  kj::AutoCloseFd conmon;   // pidfd, until it is gone or the container is removed

  // Not empty: it can neither be used nor taken for gone, and why. Only `remove` does something.
  std::string trouble;
  bool mayRun = false;  // with trouble: something of it may still run

  // Of the task that writes the state file.
  bool unsaved = false;  // the file says less than `state`
  bool saving = false;   // there is such a task
  bool writing = false;  // and it is at it just now
  bool removed = false;  // it shall not write any more

  // While it runs: one that waits to be asked; see container-run.cpp.
  kj::Own<Runner> runner;

  // When and how the log was looked at last; see container-logs.cpp.
  LogWatch log;

  // From the record.
  std::string taskName;
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<std::string> volumes;
  int stopSignal = 0;
  uint64_t logMaxBytes = 0;
  uint32_t logMaxFiles = 0;
  bool hasTerminal = false;
  bool isInteractive = false;
  bool takesInput() const { return hasTerminal || isInteractive; }

  void load(kj::ArrayPtr<const capnp::word> record);
  bool lives() const { return stage == Stage::CREATED || stage == Stage::RUNNING; }
  // Settles when it has exited; at once if it has.
  kj::Promise<void> whenExited() { return exited.addBranch(); }
  void setExited();
  // The write of the state that is under way, if there is one.
  kj::Promise<void> whenWritten();
  void setWritten();
  // It will never run, and why: for those who wait for its end.
  void setNeverMade(const kj::Exception& why);
  // conmon's exit file is there.
  kj::Promise<void> whenExitFile() { return exitFile.addBranch(); }
  void setExitFile() { exitFileThere->fulfill(); }
  // While it is being made: what it waits for, told to those who asked for it.
  std::string waitsFor;
  kj::Vector<schema::Waiting::Client> listeners;
  // Nobody wants it any more: what is being made waits for nothing.
  void giveUp() { givenUp->fulfill(); }
  bool isGivenUp() { return !givenUp->isWaiting(); }
  kj::Promise<void> whenGivenUp() { return giving.addBranch(); }
  // Sends by pidfd; false if it is gone.
  bool signal(int number);

  void describe(schema::Container::Builder to) const;
  void describeExit(schema::ExitStatus::Builder to) const;

 private:
  explicit Container(std::string id, kj::PromiseFulfillerPair<void> exit,
                     kj::PromiseFulfillerPair<void> file, kj::PromiseFulfillerPair<void> give);
  kj::Own<kj::PromiseFulfiller<void>> exitSeen;
  kj::Own<kj::PromiseFulfiller<void>> givenUp;
  kj::ForkedPromise<void> giving;
  kj::Own<kj::PromiseFulfiller<void>> exitFileThere;
  kj::ForkedPromise<void> exited;
  kj::ForkedPromise<void> exitFile;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> written;
};

}  // namespace orch::runtime
