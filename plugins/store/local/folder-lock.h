// One process per state: an flock on a file that holds the owner's pid.
#pragma once

#include <kj/io.h>

#include <string>

namespace orch::store::local {

// Held as long as it lives, also against others in the same process; the kernel drops it when the
// process ends. The file stays. A folder that it makes is for its owner only; one that is there
// keeps its mode. Throws FAILED, naming the folder, and who has it or that others may write to it.
class FolderLock final {
 public:
  explicit FolderLock(const std::string& folder);

 private:
  kj::AutoCloseFd fd;
};

}  // namespace orch::store::local
