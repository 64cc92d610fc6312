// From a request to a bundle on disk that conmon and the OCI runtime can be started on, and back.
// All of it blocks: for worker threads.
#pragma once

#include <capnp/message.h>

#include <memory>

#include "bundle.h"
#include "cgroups.h"
#include "layout.h"
#include "options.h"
#include "orch/schema/runtime.capnp.h"
#include "seccomp-profile.h"
#include "volumes.h"

namespace orch::runtime {

// One container on its way to a bundle. Of the loop and one worker job at a time.
struct Preparation {
  std::shared_ptr<capnp::MallocMessageBuilder> message;
  schema::ContainerRequest::Reader request;
  std::string id;
  CheckedRequest checked;
  kj::Array<capnp::word> record;

  // Bind sources that only a call that may hang for ever can look at: whoever has done so says what
  // they are, in checked.mounts, before `proceed`.
  std::vector<std::string> unseen;

  // What `proceed` has come to.
  enum class Needs { NOTHING, TURN_TO_COPY, VOLUME };
  Needs needs = Needs::TURN_TO_COPY;
  std::string volume;  // VOLUME: somebody else has it locked

  struct Mounted;
  std::shared_ptr<Mounted> mounted;  // from the first `proceed` on
  size_t nextMount = 0;
};

// Shared by the plugin and its jobs on worker threads; nothing in it changes but the cache, which
// locks itself.
struct BundleMaker {
  BundleMaker(Layout layout, Options options, std::string instance);

  Layout layout;
  Options options;
  Cgroups cgroups;
  VolumeFolder volumes;
  std::string bootId;
  RlimitCeiling ceiling;
  std::vector<std::string> hiddenPaths;  // thermal state of each processor
  SeccompCache filters;

  // Checks the request and changes nothing.
  std::shared_ptr<Preparation> check(std::shared_ptr<capnp::MallocMessageBuilder> message,
                                     int64_t nowNs) const;
  // Writes the record first and then everything else, mounts the root file system. Stops where
  // somebody else has a volume locked, and before it copies into one unless `mayCopy`: to be called
  // again, until nothing is needed. On failure things may be left, for `takeAway`.
  void proceed(Preparation& preparation, bool mayCopy);
  // After the OCI runtime has failed to create it: why, if that can be seen here. Both runtimes say
  // wrong things of a program that is a folder, and of a full disk.
  kj::Maybe<kj::String> whyNotCreated(const Preparation& preparation) const;
  // Mounts, cgroups and files of a container whose processes are gone; the record last. Gone
  // already is success.
  void takeAway(const std::string& id);
  // Sends SIGKILL to every process that belongs to `id`: conmon, a `create` at work, what is in its
  // cgroup. Their pidfds; what has ended meanwhile may have started something, so until there are
  // none. For half-made containers.
  std::vector<kj::AutoCloseFd> killProcesses(const std::string& id) const;

 private:
  void begin(Preparation& preparation);
  bool addMount(Preparation& preparation, const CheckedMount& mount, bool mayCopy);
  void finish(Preparation& preparation);
};

}  // namespace orch::runtime
