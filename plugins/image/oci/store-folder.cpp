#include "store-folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/file-lock.h"

namespace orch::image::oci {

namespace {

// std::filesystem's folders would bring some 200 KiB of libstdc++ into an idle process.
std::vector<std::string> entriesOf(const std::string& folder) {
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) fail(kj::str("cannot read '", folder.c_str(), "': ", strerror(errno)));
  KJ_DEFER(closedir(dir));
  std::vector<std::string> names;
  while (auto* entry = readdir(dir)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

void makeFolders(const std::string& path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    auto part = path.substr(0, end);
    if (mkdir(part.c_str(), 0755) < 0 && errno != EEXIST) {
      fail(kj::str("cannot make the images' folder '", part.c_str(), "': ", strerror(errno)));
    }
    if (end == std::string::npos) return;
  }
}

bool exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

// Goes on with the rest if one cannot be removed; the reason of the first that could not.
kj::Maybe<kj::Exception> removeAll(const std::vector<std::string>& paths) {
  kj::Maybe<kj::Exception> failure;
  for (auto& path : paths) {
    auto removed = attemptNow([&]() { removeTree(path); });
    if (!removed.ok() && failure == nullptr) failure = kj::mv(removed.error());
  }
  return failure;
}

}  // namespace

kj::AutoCloseFd lockStore(const std::string& root) {
  for (auto* name : {"", "/layers", "/blobs", "/holds", "/tmp"}) makeFolders(root + name);
  // Layers hold other users' files, with their owners and set-uid bits.
  KJ_SYSCALL(chmod(root.c_str(), 0700), root.c_str());
  return lockOwned(root + "/lock", [&](kj::StringPtr pid) {
    return kj::str("the images' folder '", root.c_str(), "' is in use by another orchd (pid ", pid,
                   "); give each a folder of its own");
  });
}

StoreState openStore(const std::string& root) {
  StoreState state;
  auto note = [&](const kj::Exception& exception) {
    state.kept.push_back(exception.getDescription().cStr());
  };
  std::vector<std::string> unfinished;
  for (auto& name : entriesOf(root + "/tmp")) unfinished.push_back(root + "/tmp/" + name);
  KJ_IF_MAYBE (failure, removeAll(unfinished)) note(*failure);
  unlink(unfinishedName(root + "/index").c_str());
  auto content = readChecked(root + "/index", "index of images",
                             "move it away, start again and import or pull the images anew");
  KJ_IF_MAYBE (bytes, content) state.index = ImageIndex::decode(*bytes);
  state.holds = HoldTable::read(root + "/holds");
  bool unknown = false;
  for (auto& hold : state.holds) unknown = unknown || !state.index.byId(hold.imageId);
  // Without an index nobody knows which layers a held image has: they stay until it is released.
  if (!unknown) {
    auto swept =
        attemptNow([&]() { sweepStore(root, state.index.layerFolders(), state.index.blobs()); });
    if (!swept.ok()) note(swept.error());
  }
  state.damaged = damagedImages(root, state.index);
  return state;
}

std::vector<std::string> damagedImages(const std::string& root, const ImageIndex& index) {
  std::vector<std::string> damaged;
  for (auto& [id, record] : index.all()) {
    for (auto& layer : record->layers()) {
      if (exists(root + "/layers/" + layer.folder())) continue;
      damaged.push_back(id);
      break;
    }
  }
  return damaged;
}

void sweepStore(const std::string& root, const std::set<std::string>& layers,
                const std::set<std::string>& blobs) {
  std::vector<std::string> gone;
  for (auto& name : entriesOf(root + "/layers")) {
    if (layers.count(name) > 0) continue;
    auto from = root + "/layers/" + name, to = root + "/tmp/gone-" + name;
    // It may be there from a time when it could not be removed: then from where it is.
    if (rename(from.c_str(), to.c_str()) < 0 && errno != ENOENT) gone.push_back(from);
    gone.push_back(to);
  }
  for (auto& name : entriesOf(root + "/blobs")) {
    if (blobs.count(name) == 0) unlink((root + "/blobs/" + name).c_str());
  }
  KJ_IF_MAYBE (failure, removeAll(gone)) kj::throwFatalException(kj::mv(*failure));
}

void makeLayout(const std::string& root, const std::string& path,
                const std::map<std::string, Placeholder>& placeholders) {
  auto folder = path + "/blobs/sha256";
  makeFolders(folder);
  for (auto& entry : placeholders) {
    auto& layer = entry.second;
    if (!exists(root + "/layers/" + layer.folder)) continue;
    auto file = folder + "/" + entry.first;
    int fd;
    KJ_SYSCALL(fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), file.c_str());
    kj::AutoCloseFd owned(fd);
    KJ_SYSCALL(ftruncate(fd, layer.bytes), file.c_str());
  }
}

bool mayBeConverted(const std::string& layout) {
  auto read = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  constexpr std::string_view DIGEST = "\"digest\":\"sha256:";
  constexpr size_t DIGITS = 64;
  auto index = read(layout + "/index.json");
  auto at = index.find(DIGEST);
  if (at == std::string::npos) return false;
  auto manifest = read(layout + "/blobs/sha256/" + index.substr(at + DIGEST.size(), DIGITS));
  return !manifest.empty() && manifest.find('\n') == std::string::npos;
}

kj::String readBlob(const std::string& root, const std::string& digest, kj::StringPtr image) {
  auto path = root + "/blobs/" + digest.substr(digest.find(':') + 1);
  auto what = kj::str("configuration of image '", image, "',");
  auto content = readChecked(path, what.cStr(), "pull or import the image again");
  KJ_IF_MAYBE (bytes, content) return kj::heapString(bytes->asChars());
  fail(kj::str("image '", image, "' is damaged: '", path.c_str(),
               "' is missing; pull or import the image again"));
}

}  // namespace orch::image::oci
