#include "kernel/loop/folder-watcher.h"

#include <kj/string.h>

namespace orch::loop {

struct FolderWatcher::Handle {
  explicit Handle(kj::Function<void(kj::StringPtr)> changed) : changed(kj::mv(changed)) {}
  uv_fs_event_t event;
  kj::Function<void(kj::StringPtr)> changed;
};

FolderWatcher::FolderWatcher(UvBridge& bridge, const std::string& folder,
                             kj::Function<void(kj::StringPtr)> changed)
    : bridge(bridge), handle(std::make_unique<Handle>(kj::mv(changed)).release()) {
  bridge.with([&](uv_loop_t* loop) {
    uv_fs_event_init(loop, &handle->event);
    handle->event.data = handle;
    auto onEvent = [](uv_fs_event_t* event, const char* name, int, int status) {
      if (status != 0) return;
      static_cast<Handle*>(event->data)->changed(name == nullptr ? "" : name);
    };
    active = uv_fs_event_start(&handle->event, onEvent, folder.c_str(), 0) == 0;
  });
}

FolderWatcher::~FolderWatcher() noexcept(false) {
  bridge.with([this](uv_loop_t*) {
    uv_close(reinterpret_cast<uv_handle_t*>(&handle->event), [](uv_handle_t* closed) {
      std::unique_ptr<Handle> gone(static_cast<Handle*>(closed->data));
    });
  });
}

}  // namespace orch::loop
