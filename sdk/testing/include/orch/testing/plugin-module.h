// A plugin's own file, run as a node runs it: in this process, or in one of its own.
#pragma once

#include <kj/async-io.h>

#include "orch/env.h"
#include "orch/schema/plugin.capnp.h"

namespace orch::testing {

enum class Isolation { KERNEL, PROCESS };

// One instance; with PROCESS, its process ends with it, and `env` is a real one. A test that is
// made by orch_add_plugin knows its plugin's file as ORCH_MODULE. The file stays loaded.
class PluginModule final {
 public:
  PluginModule(Env& env, kj::StringPtr file, Isolation isolation, kj::WaitScope& waitScope);
  ~PluginModule() noexcept(false);

  schema::Plugin::Client plugin() { return client; }
  // Ends its process, and returns when nothing of it goes on any more. With PROCESS only.
  void kill(kj::WaitScope& waitScope);
  // Of its process; 0 in this one.
  uint32_t pid() const;

  struct Host;

 private:
  kj::Maybe<kj::Own<Host>> host;
  schema::Plugin::Client client;
};

// What the process for a plugin runs: this program once more, with these arguments. The exit
// status, or nothing if the arguments say something else.
kj::Maybe<int> serveModule(int argc, char** argv);

}  // namespace orch::testing
