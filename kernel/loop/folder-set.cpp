#include "kernel/loop/folder-set.h"

#include <kj/debug.h>
#include <sys/stat.h>

namespace orch::loop {

FolderSet::FolderSet(Env& env, UvBridge& bridge, kj::Function<void()> changed)
    : env(env), bridge(bridge), changed(kj::mv(changed)), tasks(*this) {}

kj::Promise<void> FolderSet::watch(std::vector<std::string> folders) {
  wanted = std::move(folders);
  again = true;
  if (looking) return kj::READY_NOW;
  looking = true;
  return look();
}

FolderSet::Place FolderSet::placeOf(const std::string& folder) {
  for (std::string path = folder; path.size() > 1; path = path.substr(0, path.rfind('/'))) {
    struct stat info;
    if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
      return {path, info.st_dev, info.st_ino};
    }
  }
  return {"/", 0, 0};
}

// Until nothing has changed while it looked: what comes between a look and its watch is seen by the
// look after it.
Task<void> FolderSet::look() {
  while (again) {
    again = false;
    auto find = [folders = wanted]() {
      std::set<Place> places;
      for (auto& folder : folders) places.insert(placeOf(folder));
      return places;
    };
    auto places = co_await env.workers().run(kj::mv(find));
    std::erase_if(watchers, [&](auto& known) {
      return places.count(known.first) == 0 || doubtful.count(known.first) > 0;
    });
    doubtful.clear();
    for (auto& place : places) {
      if (watchers.count(place) > 0) continue;
      watchers[place] = std::make_unique<FolderWatcher>(
          bridge, place.folder, [this, place](kj::StringPtr) { somethingChanged(place); });
      again = true;
    }
    if (again) changed();
  }
  looking = false;
}

void FolderSet::somethingChanged(const Place& where) {
  doubtful.insert(where);
  again = true;
  changed();
  if (looking) return;
  looking = true;
  tasks.add(look());
}

void FolderSet::taskFailed(kj::Exception&& exception) {
  looking = false;
  KJ_LOG(ERROR, "plugin.folders-unwatched", exception);
}

}  // namespace orch::loop
