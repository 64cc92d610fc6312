// For tests: what stands at the socket instead of orchd. Keeps services in memory, converges at
// once, writes down what it is asked, and misbehaves if told to.
#pragma once

#include <capnp/message.h>
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/schema/image.capnp.h"
#include "recording-backups.h"

namespace orch::cli {

using Words = std::vector<std::string>;

// `service create --name web`, then these.
Words create(Words options, Words rest = {"nginx:1"});
inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What the program did.
struct Ran {
  int status = 0;
  std::string out;
  std::string errors;
};

class RecordingServer final {
 public:
  RecordingServer();
  ~RecordingServer() noexcept(false);
  KJ_DISALLOW_COPY(RecordingServer);

  // Runs the built program against this server, to its end. `variables` are added to its
  // environment, which is otherwise empty but for ORCH_HOST.
  Ran run(std::vector<std::string> words, std::vector<std::string> variables = {});
  // The same, and sends `signal` when the server has been asked for progress, or the program
  // speaks.
  Ran runAndInterrupt(std::vector<std::string> words, int signal);

  // ---- what it was asked ----
  std::vector<std::string> calls;  // `createService web`
  std::vector<std::string> requestIds;
  schema::ServiceSpec::Reader lastSpec();
  uint64_t lastVersion = 0;
  std::string lastLogin;  // registry, user, password
  std::string lastPools;  // of `init`, and the prefix
  schema::LogOptions::Reader lastLogOptions();
  kj::Own<capnp::MallocMessageBuilder> lastProgram = kj::heap<capnp::MallocMessageBuilder>();

  // ---- how it behaves ----
  unsigned disconnects = 0;  // so many changes are carried out, and the connection then broken
  bool comesBack = true;     // after a break: listens again
  std::string refusalAfter;  // becomes the next one when a connection has been broken
  std::string refusal;       // the text of every change's failure, if not empty
  // What it says, one after the other, of a node that is being drained.
  std::vector<std::function<void(schema::NodeProgress::Builder)>> drain;
  bool converges = true;
  bool stuck = false;
  bool job = false;            // what it says of progress and tasks
  bool paused = false;         // after the command
  bool pausedBefore = false;   // and the command does not resume it
  bool updates = false;        // an update begins an update, which is completed when asked for
  bool superseded = false;     // by another, when asked for
  unsigned outOfSequence = 0;  // so many updates come too late
  unsigned unsteady = 0;       // so many times it is converged and then not
  std::vector<schema::TaskState> taskStates;  // of the slots; a state that has not run has an error
  std::string problem;
  unsigned extraServices = 0;  // so many more in `service ls`
  bool programEnds = true;     // one without input does at once
  bool takesInput = true;      // whoever is attached to its task may write
  bool programLost = false;    // nobody knows how it ended
  bool speaksFirst = false;    // the program, and that it runs is told when there has been a signal
  BackupScript backups;
  bool hasImages = false;  // nginx:1, which is in use

  const std::string& socket() const { return path; }
  std::string tryPath(const std::string& name) const { return folder + "/" + name; }

  struct State;

 private:
  friend class RecordingCluster;
  void listen();
  void breakConnections();

  kj::AsyncIoContext io;
  kj::Own<Env> env;
  std::string folder;
  std::string path;
  kj::Own<State> state;
};

}  // namespace orch::cli
