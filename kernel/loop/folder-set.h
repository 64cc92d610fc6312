// Watches folders that may not be there yet, come, go and come again: for one that is missing, the
// nearest folder above it that is there.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kernel/loop/folder-watcher.h"
#include "orch/env.h"

namespace orch::loop {

// Lives on the loop's thread; looks at the disk on a worker.
class FolderSet final : private kj::TaskSet::ErrorHandler {
 public:
  // Calls `changed` for each change in one of the folders, and once when one has come.
  FolderSet(Env& env, UvBridge& bridge, kj::Function<void()> changed);
  ~FolderSet() noexcept(false) {}
  KJ_DISALLOW_COPY(FolderSet);

  // Absolute paths, instead of those before. Settles when they are watched.
  kj::Promise<void> watch(std::vector<std::string> folders);

 private:
  struct Place {
    std::string folder;  // that is watched
    uint64_t device = 0, inode = 0;
    auto operator<=>(const Place&) const = default;
  };
  static Place placeOf(const std::string& wanted);
  Task<void> look();
  void somethingChanged(const Place& where);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  UvBridge& bridge;
  kj::Function<void()> changed;
  std::vector<std::string> wanted;
  std::map<Place, std::unique_ptr<FolderWatcher>> watchers;
  // Those with a change: perhaps their folder went, and the next one got its inode number.
  std::set<Place> doubtful;
  bool looking = false;
  bool again = false;  // something has changed since the last look began
  kj::TaskSet tasks;
};

}  // namespace orch::loop
