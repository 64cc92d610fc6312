// Named volumes of a node, one folder for all its runtimes. All of it blocks: for worker threads.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "rootfs.h"

namespace orch::runtime {

// What the image has at `target`, copied into the folder `to`: owners, modes and extended
// attributes included, those of the folder itself too. False if the image has no folder there.
bool copyFromImage(const RootFolder& rootfs, const std::string& target, const std::string& to);
// Owner, mode, times and extended attributes of a folder.
void copyFolderAttributes(const std::string& from, const std::string& to);

struct VolumeInfo {
  std::string name;
  std::string path;
  int64_t createdAtNs = 0;
  std::vector<std::string> usedBy;  // ids of containers, sorted
};

//   <root>/<name>/_data                        a volume
//   <root>/.users/<instance>/<id>/<name>       says that this container uses it
//   <root>/.new/<instance>/<id>/               what is being copied for that container
//
// A volume's name cannot begin with a dot. Several runtimes, in one process or more, may work on
// the same folder: whoever fills or removes a volume holds flock(2) on its folder.
class VolumeFolder final {
 public:
  VolumeFolder(std::string root, std::string instance);

  // The folder with the volume's data, made on first use, in use by `id` from now on. If it is
  // empty it gets what the image has at `target`, as with docker: all of it or, on failure,
  // nothing.
  // Without waiting: whoever fills it meanwhile has it locked, and without `mayCopy` nothing is
  // filled that would have to be. Then `data` is empty; the volume counts as used all the same.
  struct Used {
    std::string data;
    bool locked = false;
  };
  Used use(const std::string& name, const std::string& id, const RootFolder& rootfs,
           const std::string& target, bool mayCopy = true) const;
  // The container `id` is no more: what it used it uses no longer, what it had half-made is
  // removed.
  void release(const std::string& id) const;

  std::string dataOf(const std::string& name) const { return root + "/" + name + "/_data"; }
  // Sorted by name; used by whichever runtime's containers.
  std::vector<VolumeInfo> list() const;
  // False if there is none. Fails with the users' ids if it is in use.
  bool remove(const std::string& name) const;
  // Removes those that nobody uses. Their names.
  std::vector<std::string> prune() const;

  struct Use {
    std::string id;
    std::vector<std::string> names;
  };
  // At the start: finishes or takes back what a crash cut off, and notes the uses of the containers
  // that there are; all others of this instance's are void.
  void recover(const std::vector<Use>& uses) const;
  // Moves the volumes of `old`, a folder of this kind from before runtimes shared one. Names of
  // those that stay there because both have one.
  std::vector<std::string> adopt(const std::string& old) const;

 private:
  std::string usesOf(const std::string& id) const;
  std::string freshOf(const std::string& id) const;
  std::vector<std::string> names() const;
  std::map<std::string, std::vector<std::string>> users() const;  // ids of containers by name
  void noteUse(const std::string& name, const std::string& id) const;
  kj::Maybe<kj::AutoCloseFd> lock(const std::string& name, bool wait = false) const;
  void fill(const std::string& name, const std::string& fresh) const;

  std::string root;
  std::string instance;
};

}  // namespace orch::runtime
