// Tells when something in a folder changes: a plugin's file appears, the manifest is edited.
#pragma once

#include <kj/function.h>

#include <memory>
#include <string>

#include "kernel/loop/uv-bridge.h"

namespace orch::loop {

// Calls `changed(name)` on the loop for each change; a folder that does not exist is not watched.
class FolderWatcher final {
 public:
  FolderWatcher(UvBridge& bridge, const std::string& folder,
                kj::Function<void(kj::StringPtr name)> changed);
  ~FolderWatcher() noexcept(false);
  KJ_DISALLOW_COPY(FolderWatcher);

  bool watching() const { return active; }

 private:
  struct Handle;
  UvBridge& bridge;
  Handle* handle;  // uv owns it until its close callback
  bool active = false;
};

}  // namespace orch::loop
