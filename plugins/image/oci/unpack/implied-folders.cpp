#include "unpack/implied-folders.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "unpack/digest.h"

namespace orch::image::oci {

namespace {

// On such a folder, and on the layer's own if there is any.
constexpr const char* IMPLIED = "trusted.orch.implied";
constexpr const char* OPAQUE_FOLDER = "trusted.overlay.opaque";

bool marked(const std::string& path, const char* attribute) {
  return lgetxattr(path.c_str(), attribute, nullptr, 0) >= 0;
}

// What one layer says of a folder.
struct Word {
  enum { NOTHING, HIDES, IMPLIES, NAMES } kind = NOTHING;
  bool last = false;  // what is below does not count
  struct stat info = {};
};

Word ask(const std::string& layer, const std::string& path) {
  Word word;
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    auto here = layer + "/" + path.substr(0, end);
    if (lstat(here.c_str(), &word.info) < 0) {
      word.kind = word.last ? Word::HIDES : Word::NOTHING;
      return word;
    }
    if (!S_ISDIR(word.info.st_mode)) {
      word.kind = Word::HIDES;
      return word;
    }
    // An opaque folder hides what is in it below, not what it is itself.
    if (end != std::string::npos && marked(here, OPAQUE_FOLDER)) word.last = true;
  }
  word.kind = marked(layer + "/" + path, IMPLIED) ? Word::IMPLIES : Word::NAMES;
  return word;
}

struct Shown {
  struct stat info;  // as overlayfs would show it
  struct stat right;
};

// Nothing if the image has no such folder.
std::optional<Shown> look(const std::vector<std::string>& layers, const std::string& path) {
  std::optional<Shown> shown;
  for (size_t i = layers.size(); i-- > 0;) {
    auto word = ask(layers[i], path);
    if (word.kind == Word::HIDES) break;
    if (word.kind == Word::NOTHING) continue;
    if (!shown) shown = Shown{word.info, word.info};
    if (word.kind == Word::NAMES) {
      shown->right = word.info;
      break;
    }
    if (word.last) break;
  }
  return shown;
}

}  // namespace

void markImplied(const std::set<std::string>& paths) {
  bool any = false;
  for (auto& path : paths) {
    struct stat info;
    if (lstat(path.c_str(), &info) < 0 || !S_ISDIR(info.st_mode)) continue;
    KJ_SYSCALL(lsetxattr(path.c_str(), IMPLIED, "y", 1, 0), path.c_str());
    any = true;
  }
  if (any) {
    KJ_SYSCALL(setxattr(".", IMPLIED, "y", 1, 0));
  }
}

FolderTable impliedFolders(const std::vector<std::string>& layers) {
  namespace fs = std::filesystem;
  FolderTable table;
  for (auto& layer : layers) {
    if (!marked(layer, IMPLIED)) continue;
    for (auto& entry : fs::recursive_directory_iterator(layer)) {
      if (!entry.is_directory() || entry.is_symlink()) continue;
      if (!marked(entry.path(), IMPLIED)) continue;
      auto path = entry.path().string().substr(layer.size() + 1);
      if (table.count(path) > 0) continue;
      auto shown = look(layers, path);
      if (!shown) continue;
      auto& [is, right] = *shown;
      bool same =
          is.st_mode == right.st_mode && is.st_uid == right.st_uid && is.st_gid == right.st_gid;
      if (same) continue;
      table[path] = right;
      for (auto end = path.rfind('/'); end != std::string::npos; end = path.rfind('/', end - 1)) {
        auto parent = path.substr(0, end);
        if (auto above = look(layers, parent)) table[parent] = above->right;
        if (end == 0) break;
      }
    }
  }
  return table;
}

std::string digestOf(const FolderTable& folders) {
  std::string text = "folders";
  for (auto& [path, info] : folders) {
    text += '\0' + path + '\0' + std::to_string(info.st_mode) + ':' + std::to_string(info.st_uid) +
            ':' + std::to_string(info.st_gid) + ':' + std::to_string(info.st_mtim.tv_sec);
  }
  return sha256(text);
}

void makeFolders(const std::string& layer, const FolderTable& folders) {
  for (auto& [path, info] : folders) {
    auto place = layer + "/" + path;
    KJ_SYSCALL(mkdir(place.c_str(), 0700), place.c_str());
  }
  // From the last, so that what is made in a folder does not change its time.
  for (auto at = folders.rbegin(); at != folders.rend(); ++at) {
    auto place = layer + "/" + at->first;
    auto& info = at->second;
    KJ_SYSCALL(chown(place.c_str(), info.st_uid, info.st_gid), place.c_str());
    KJ_SYSCALL(chmod(place.c_str(), info.st_mode & 07777), place.c_str());
    struct timespec times[2] = {info.st_mtim, info.st_mtim};
    KJ_SYSCALL(utimensat(AT_FDCWD, place.c_str(), times, AT_SYMLINK_NOFOLLOW), place.c_str());
  }
}

}  // namespace orch::image::oci
