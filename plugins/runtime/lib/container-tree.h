// The files of a container as its program will see them, before the OCI runtime has mounted them:
// the root file system and, on it, the user's mounts. What the runtime would make by itself is made
// here, since crun and runc differ in it: one fails at a link to nothing, or makes folders in
// what is mounted read-only. All of it blocks: for worker threads.
#pragma once

#include <deque>

#include "checked-request.h"
#include "rootfs.h"

namespace orch::runtime {

class ContainerTree final {
 public:
  // `root` outlives it.
  explicit ContainerTree(const RootFolder& root);
  KJ_DISALLOW_COPY(ContainerTree);

  // The place of a mount, without links in its path, made if it is not there: a folder, or an empty
  // file. `mode` is what a folder there has; below a tmpfs, where nothing can be made yet, it is 0.
  struct Target {
    std::string path;
    unsigned mode = 0;
    bool inRoot = false;  // of the root file system itself, not of another mount
  };
  Target makeTarget(const std::string& path, bool isFolder);
  // From now on `source` is at `target`, a path that makeTarget has answered. A tmpfs has none.
  void mount(const std::string& target, const std::string& source, bool isFolder, bool readOnly);
  // Makes the folder and those above it, mode 0755, unless it is there.
  void makeFolder(const std::string& path);

  // What is at a path, links followed.
  enum class Kind { NOTHING, FOLDER, FILE, UNKNOWN };  // UNKNOWN: below a tmpfs
  struct Entry {
    Kind kind = Kind::NOTHING;
    unsigned mode = 0;
  };
  Entry look(const std::string& path) const;

 private:
  struct Mount {
    std::string target;
    std::string source;
    bool isFolder;
    bool readOnly;
  };
  enum class Make { NOTHING, FOLDER, FILE };
  struct Walk;
  Entry walk(Walk& walk) const;
  Entry step(Walk& walk, const std::string& path) const;
  const Mount* mountAt(const std::string& path) const;
  const Mount* mountAbove(const std::string& path) const;

  const RootFolder& root;
  std::deque<Mount> mounts;
};

}  // namespace orch::runtime
