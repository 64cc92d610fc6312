// One run of a plugin: its Plugin capability, in this process or at the other end of a socket.
#pragma once

#include "kernel/plugin/elf-reader.h"
#include "orch/env.h"
#include "orch/schema/plugin.capnp.h"

namespace orch::plugin {

class Instance {
 public:
  virtual ~Instance() noexcept(false) {}
  virtual schema::Plugin::Client plugin() = 0;
  // Settles with the reason when the process behind it has ended, or lives on without a connection;
  // never in the kernel.
  virtual kj::Promise<kj::String> onGone() = 0;
  virtual uint32_t pid() const = 0;  // 0 in the kernel
};

// dlopen in a worker thread, then the plugin lives on this loop.
Task<kj::Own<Instance>> newKernelInstance(Env& env, PluginFile file);
// What a process of its own keeps of the rights of orchd.
struct Rights {
  std::vector<std::pair<std::string, std::string>> env;  // beside PATH and LANG: all there is
  uint64_t capabilities = 0;                             // 1 << CAP_…
  uint64_t keeps = 0;                                    // as in the descriptor
};
// orch-plugin-host, found at `hostProgram`, serves over a socket pair. The process ends with this
// one.
Task<kj::Own<Instance>> newProcessInstance(Env& env, PluginFile file, std::string hostProgram,
                                           Rights rights);

}  // namespace orch::plugin
