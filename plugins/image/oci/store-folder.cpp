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
  for (auto* name : {"", "/layers", "/blobs", KEPT_FOLDER, "/holds", "/tmp"}) {
    makeFolders(root + name);
  }
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
    auto swept = attemptNow([&]() { sweepStore(root, state.index); });
    if (!swept.ok()) note(swept.error());
  }
  state.damaged = damagedImages(root, state.index);
  state.keptBlobs = listKept(root);
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

void sweepStore(const std::string& root, const ImageIndex& index) {
  auto layers = index.layerFolders();
  std::vector<std::string> gone;
  for (auto& name : entriesOf(root + "/layers")) {
    if (layers.count(name) > 0) continue;
    auto from = root + "/layers/" + name, to = root + "/tmp/gone-" + name;
    // It may be there from a time when it could not be removed: then from where it is.
    if (rename(from.c_str(), to.c_str()) < 0 && errno != ENOENT) gone.push_back(from);
    gone.push_back(to);
  }
  auto blobs = index.blobs();
  for (auto& name : entriesOf(root + "/blobs")) {
    if (blobs.count(name) == 0) unlink((root + "/blobs/" + name).c_str());
  }
  auto kept = index.keptBlobs();
  for (auto& name : entriesOf(root + KEPT_FOLDER)) {
    if (kept.count(name) == 0) unlink((root + KEPT_FOLDER + "/" + name).c_str());
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

std::set<std::string> listKept(const std::string& root) {
  auto names = entriesOf(root + KEPT_FOLDER);
  return {names.begin(), names.end()};
}

KeptPart readKept(const std::string& root, const std::string& name, uint64_t offset,
                  size_t maxBytes) {
  auto path = root + KEPT_FOLDER + "/" + name;
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) failFile("read", path, errno);
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(fd, &info), path.c_str());
  KeptPart part;
  part.totalBytes = info.st_size;
  uint64_t left = offset < part.totalBytes ? part.totalBytes - offset : 0;
  part.bytes = kj::heapArray<kj::byte>(kj::min(left, maxBytes));
  for (size_t done = 0; done < part.bytes.size();) {
    ssize_t n;
    KJ_SYSCALL(n = pread(fd, part.bytes.begin() + done, part.bytes.size() - done, offset + done));
    if (n == 0) fail(kj::str("'", path.c_str(), "' is cut off"));
    done += n;
  }
  return part;
}

std::vector<std::string> layOutKept(const std::string& root, const std::string& layout,
                                    const std::vector<std::string>& names) {
  auto folder = layout + "/blobs/sha256/";
  makeFolders(layout + "/blobs/sha256");
  std::vector<std::string> found;
  for (auto& name : names) {
    auto from = root + KEPT_FOLDER + "/" + name;
    if (link(from.c_str(), (folder + name).c_str()) == 0) found.push_back(name);
  }
  return found;
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
