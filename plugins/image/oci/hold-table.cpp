#include "hold-table.h"

#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "orch/durable-file.h"
#include "orch/fail.h"
#include "reference.h"

namespace orch::image::oci {

namespace {

std::string fileOf(const std::string& holder, const std::string& imageId) {
  return holder + "." + imageId.substr(SHA256.size());
}

}  // namespace

HoldTable::HoldTable(Workers& workers, std::string folder)
    : workers(workers), folder(kj::mv(folder)), next(kj::Promise<void>(kj::READY_NOW).fork()) {}

void HoldTable::checkHolder(kj::StringPtr holder) {
  bool good = holder.size() > 0 && holder.size() <= MAX_HOLDER && holder[0] != '.';
  for (char c : holder) {
    good = good && (isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-');
  }
  if (!good) {
    fail(kj::str("invalid holder '", holder, "': accepted are 1 to ", MAX_HOLDER,
                 " letters, digits, '.', '_' and '-', not beginning with '.'"));
  }
}

std::vector<HoldTable::Hold> HoldTable::read(const std::string& folder) {
  std::vector<Hold> holds;
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) {
    if (errno == ENOENT) return holds;
    fail(kj::str("cannot read '", folder.c_str(), "': ", strerror(errno)));
  }
  KJ_DEFER(closedir(dir));
  while (auto* entry = readdir(dir)) {
    std::string name = entry->d_name;
    auto dot = name.rfind('.');
    if (dot == std::string::npos || dot == 0) continue;
    auto id = std::string(SHA256) + name.substr(dot + 1);
    if (isDigest(id)) holds.push_back({name.substr(0, dot), id});
  }
  return holds;
}

void HoldTable::take(const std::vector<Hold>& holds) {
  for (auto& hold : holds) {
    byHolder[hold.holder].insert(hold.imageId);
    byImage[hold.imageId].insert(hold.holder);
  }
}

void HoldTable::forget(const std::string& holder, const std::string& imageId) {
  byHolder[holder].erase(imageId);
  if (byHolder[holder].empty()) byHolder.erase(holder);
  byImage[imageId].erase(holder);
  if (byImage[imageId].empty()) byImage.erase(imageId);
}

kj::Promise<void> HoldTable::add(const std::string& holder, const std::string& imageId) {
  auto file = fileOf(holder, imageId);
  auto found = byHolder.find(holder);
  bool known = found != byHolder.end() && found->second.count(imageId) > 0;
  if (known && unsynced.count(file) == 0) return kj::READY_NOW;
  take({{holder, imageId}});
  unsynced.insert(file);
  return write({{holder, imageId, true}});
}

kj::Promise<void> HoldTable::release(const std::string& holder) {
  auto found = byHolder.find(holder);
  if (found == byHolder.end()) return kj::READY_NOW;
  std::vector<Change> changes;
  for (auto& id : std::set<std::string>(found->second)) {
    changes.push_back({holder, id, false});
    forget(holder, id);
  }
  return write(kj::mv(changes));
}

kj::Promise<void> HoldTable::retain(const std::set<std::string>& keep) {
  std::vector<std::string> others;
  for (auto& [holder, ids] : byHolder) {
    if (keep.count(holder) == 0) others.push_back(holder);
  }
  kj::Promise<void> last = kj::READY_NOW;
  for (auto& holder : others) last = release(holder);  // all of them share one batch
  return last;
}

std::vector<std::string> HoldTable::holders(const std::string& imageId) const {
  auto found = byImage.find(imageId);
  if (found == byImage.end()) return {};
  return {found->second.begin(), found->second.end()};
}

bool HoldTable::holdsUnknown(const std::set<std::string>& known) const {
  for (auto& [id, holders] : byImage) {
    if (known.count(id) == 0) return true;
  }
  return false;
}

// Blocking. All or nothing of what is to be made.
void HoldTable::writeFiles(const std::string& folder, const std::vector<Change>& changes) {
  bool made = false;
  for (auto& change : changes) {
    std::string path = folder + "/" + fileOf(change.holder, change.imageId);
    if (!change.make) {
      unlink(path.c_str());
      continue;
    }
    int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
      int error = errno;
      for (auto& other : changes) {
        if (other.make) unlink((folder + "/" + fileOf(other.holder, other.imageId)).c_str());
      }
      fail(kj::str("cannot hold an image in '", folder.c_str(), "': ", strerror(error)));
    }
    close(fd);
    made = true;
  }
  // A hold that comes back after a power cut is released by retainHolders; a lost one is not found
  // again.
  if (made) syncFolder(folder);
}

void HoldTable::settle(const std::vector<Change>& changes, bool written) {
  // Memory is ahead: what was asked for last decides, in this batch or in the next one.
  std::map<std::string, const Change*> last;
  for (auto* list : {&changes, &std::as_const(pending)}) {
    for (auto& change : *list) last[fileOf(change.holder, change.imageId)] = &change;
  }
  for (auto& change : changes) {
    auto file = fileOf(change.holder, change.imageId);
    if (last[file] != &change) continue;
    unsynced.erase(file);
    if (!change.make) continue;
    if (written) {
      take({{change.holder, change.imageId}});  // an earlier try may have failed
    } else {
      forget(change.holder, change.imageId);
    }
  }
}

kj::Promise<void> HoldTable::writePending() {
  nextWaits = false;
  // Owned by the worker and by what comes after it.
  auto changes = std::make_shared<const std::vector<Change>>(kj::mv(pending));
  pending.clear();
  return workers.run([folder = folder, changes]() { writeFiles(folder, *changes); })
      .then([this, changes]() { settle(*changes, true); },
            [this, changes](kj::Exception&& exception) {
              settle(*changes, false);
              kj::throwFatalException(kj::mv(exception));
            });
}

kj::Promise<void> HoldTable::write(std::vector<Change> changes) {
  for (auto& change : changes) pending.push_back(kj::mv(change));
  if (nextWaits) return next.addBranch();
  nextWaits = true;
  // The batch before may have failed: that concerns its own callers.
  next = next.addBranch()
             .catch_([](kj::Exception&&) {})
             .then([this]() { return writePending(); })
             .fork();
  return next.addBranch();
}

}  // namespace orch::image::oci
