#include "folder-lock.h"

#include <filesystem>

#include "orch/fail.h"
#include "orch/file-lock.h"

namespace orch::store::local {

namespace {

void makeFolder(const std::string& folder) {
  using std::filesystem::perms;
  std::error_code error;
  bool made = std::filesystem::create_directories(folder, error);
  if (made && !error) std::filesystem::permissions(folder, perms::owner_all, error);
  auto mode = error ? perms::none : std::filesystem::status(folder, error).permissions();
  if (error) {
    fail(kj::str("cannot create '", folder.c_str(), "': ", error.message().c_str(),
                 "; set another `directory`"));
  }
  if ((mode & (perms::group_write | perms::others_write)) != perms::none) {
    fail(kj::str("'", folder.c_str(), "' may be written by others than its owner; run: chmod go-w ",
                 folder.c_str()));
  }
}

}  // namespace

FolderLock::FolderLock(const std::string& folder) {
  makeFolder(folder);
  fd = lockOwned(folder + "/lock", [&](kj::StringPtr pid) {
    return kj::str("the state in '", folder.c_str(), "' is in use by process ", pid,
                   "; end that one or set another `directory`");
  });
}

}  // namespace orch::store::local
