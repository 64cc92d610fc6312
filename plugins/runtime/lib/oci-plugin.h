// The plugin around OciRuntime: what plugin.cpp of runtime.crun and runtime.runc derive from.
#pragma once

#include "oci-runtime.h"

namespace orch::runtime {

class OciPlugin : public PluginInstance {
 public:
  OciPlugin(Env& env, Host& host, Options options);
  Task<void> recover() override;
  Task<Services> start() override;
  Task<void> stop() override;

 private:
  Host& host;
  kj::Own<OciRuntime> runtime;
};

}  // namespace orch::runtime
