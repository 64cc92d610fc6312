// The root file system of a container: an overlay of the image's layers, and safe access to paths
// in it: an image's symbolic links never lead out. All of it blocks: for worker threads.
#pragma once

#include <kj/io.h>
#include <kj/string.h>

#include <string>
#include <vector>

namespace orch::runtime {

// Mounts the overlay at `target`. `layers` are directories, lowest first, at most 500 (the kernel's
// limit); none is an empty root. The upper side is not synced to disk (`volatile`): it never
// outlives the node's uptime, and what must is on a volume. Fails with a text that names a missing
// layer.
void mountOverlay(const std::vector<std::string>& layers, const std::string& upper,
                  const std::string& work, const std::string& target);
// The way for kernels before 6.8, where all layers must fit into one page of options.
// Public for its test.
void mountOverlayByOptions(const std::vector<std::string>& layers, const std::string& upper,
                           const std::string& work, const std::string& target, bool isVolatile);
// Not mounted is success. A busy mount is detached.
void unmount(const std::string& target);
// Null if the kernel can mount overlays; else why not, and the remedy. Asks it to load the module.
kj::Maybe<kj::String> whyNoOverlay();

// A directory that is the root for all paths given.
class RootFolder final {
 public:
  explicit RootFolder(const std::string& path);
  int fd() const { return root.get(); }
  // The file's text, at most 1 MiB; empty if there is none.
  kj::String read(const std::string& path) const;
  // An empty folder of mode 0755, or an empty file; the folder above it is there.
  void make(const std::string& path, bool isFile) const;
  void setMode(const std::string& folder, unsigned mode) const;
  // What is at `path`, as O_PATH; a link at its end is not followed. Null if there is nothing.
  kj::Maybe<kj::AutoCloseFd> openEntry(const std::string& path) const;
  // The directory at `path`, or null if there is none.
  kj::Maybe<kj::AutoCloseFd> openDirectory(const std::string& path) const;

 private:
  kj::Maybe<kj::AutoCloseFd> open(const std::string& path, int flags) const;
  kj::AutoCloseFd root;
};

}  // namespace orch::runtime
