#include "store-folder.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "checked-file.h"
#include "child.h"
#include "orch/fail.h"

namespace orch::image::oci {

namespace {

constexpr uint64_t MAX_BLOB = 4 << 20;  // what registries accept as a manifest

std::vector<std::string> entriesOf(const std::string& folder) {
  std::vector<std::string> names;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

}  // namespace

kj::Maybe<kj::AutoCloseFd> lockStore(const std::string& root) {
  for (auto* name : {"", "/layers", "/blobs", "/holds", "/tmp"}) {
    std::error_code error;
    std::filesystem::create_directories(root + name, error);
    if (error) {
      fail(kj::str("cannot make the images' folder '", root.c_str(), name,
                   "': ", error.message().c_str()));
    }
  }
  // Layers hold other users' files, with their owners and set-uid bits.
  KJ_SYSCALL(chmod(root.c_str(), 0700), root.c_str());
  int fd;
  auto path = root + "/lock";
  KJ_SYSCALL(fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), path.c_str());
  kj::AutoCloseFd lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return kj::mv(lock);
  if (errno != EWOULDBLOCK) KJ_FAIL_SYSCALL("flock", errno, path.c_str());
  return nullptr;
}

StoreState openStore(const std::string& root) {
  for (auto& name : entriesOf(root + "/tmp")) removeTree(root + "/tmp/" + name);
  unlink((root + "/index.new").c_str());
  StoreState state;
  auto content = readChecked(root + "/index", "index of images",
                             "move it away, start again and import or pull the images anew");
  KJ_IF_MAYBE (bytes, content) state.index = ImageIndex::decode(*bytes);
  state.holds = HoldTable::read(root + "/holds");
  bool unknown = false;
  for (auto& hold : state.holds) unknown = unknown || !state.index.byId(hold.imageId);
  // Without an index nobody knows which layers a held image has: they stay until it is released.
  if (!unknown) sweepStore(root, state.index.layerFolders(), state.index.blobs());
  for (auto& [id, record] : state.index.all()) {
    for (auto& layer : record->layers()) {
      struct stat info;
      if (stat((root + "/layers/" + layer.folder()).c_str(), &info) == 0) continue;
      state.damaged.push_back(id);
      break;
    }
  }
  return state;
}

void sweepStore(const std::string& root, const std::set<std::string>& layers,
                const std::set<std::string>& blobs) {
  std::vector<std::string> gone;
  for (auto& name : entriesOf(root + "/layers")) {
    if (layers.count(name) > 0) continue;
    auto from = root + "/layers/" + name, to = root + "/tmp/gone-" + name;
    if (rename(from.c_str(), to.c_str()) < 0 && errno != ENOENT) {
      fail(kj::str("cannot remove the layer '", from.c_str(), "': ", strerror(errno)));
    }
    gone.push_back(to);
  }
  for (auto& name : entriesOf(root + "/blobs")) {
    if (blobs.count(name) == 0) unlink((root + "/blobs/" + name).c_str());
  }
  for (auto& path : gone) removeTree(path);
}

void makeLayout(const std::string& path, const std::map<std::string, uint64_t>& placeholders) {
  auto folder = path + "/blobs/sha256";
  std::filesystem::create_directories(folder);
  for (auto& blob : placeholders) {
    auto file = folder + "/" + blob.first;
    int fd;
    KJ_SYSCALL(fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), file.c_str());
    kj::AutoCloseFd owned(fd);
    KJ_SYSCALL(ftruncate(fd, blob.second), file.c_str());
  }
}

kj::String readBlob(const std::string& root, const std::string& digest, kj::StringPtr image) {
  auto path = root + "/blobs/" + digest.substr(digest.find(':') + 1);
  KJ_IF_MAYBE (content, readWhole(path, MAX_BLOB)) {
    if (digestOf(*content) == digest) return kj::heapString(content->asChars());
    fail(kj::str("image '", image, "' is damaged: '", path.c_str(), "' is not ", digest.c_str(),
                 "; pull or import the image again"));
  }
  fail(kj::str("image '", image, "' is damaged: '", path.c_str(),
               "' is missing; pull or import the image again"));
}

}  // namespace orch::image::oci
