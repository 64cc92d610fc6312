#include "kernel/node-folders.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "orch/fail.h"
#include "orch/file-lock.h"

namespace orch {

namespace {

[[noreturn]] void refuse(const char* what, const std::string& path, int error, const char* key) {
  fail(kj::str("cannot ", what, " '", path.c_str(), "': ", strerror(error), "; make [node] '", key,
               "' a folder that orchd may write to"));
}

}  // namespace

void makeNodeFolder(const std::string& path, const char* key, mode_t mode) {
  auto parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  std::filesystem::create_directories(parent, error);
  if (error) refuse("make the folder", parent, error.value(), key);
  if (mkdir(path.c_str(), mode) == 0) {
    // mkdir(2) takes the umask off.
    if (chmod(path.c_str(), mode) < 0) refuse("set the mode of", path, errno, key);
    return;
  }
  if (errno != EEXIST) refuse("make the folder", path, errno, key);
  struct stat info;
  if (stat(path.c_str(), &info) < 0) refuse("look at", path, errno, key);
  if (!S_ISDIR(info.st_mode)) refuse("use", path, ENOTDIR, key);
}

void requireOwnFolder(const std::string& path, const char* key) {
  struct stat info;
  if (stat(path.c_str(), &info) < 0) refuse("look at", path, errno, key);
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    fail(kj::str("the ", key, " folder '", path.c_str(),
                 "' may be written by others than its owner; run: chmod go-w ", path.c_str()));
  }
  if (info.st_uid != 0 && info.st_uid != geteuid()) {
    fail(kj::str("the ", key, " folder '", path.c_str(), "' belongs to user ", info.st_uid,
                 "; it must belong to root or to the user that runs orchd"));
  }
}

kj::AutoCloseFd lockNodeFolder(const std::string& folder, const char* key) {
  return lockOwned(folder + "/orchd.lock", [&](kj::StringPtr pid) {
    return kj::str("another orchd (pid ", pid, ") uses the ", key, " folder '", folder.c_str(),
                   "'; stop it, or give this one a 'data' and a 'run' of its own in [node]");
  });
}

}  // namespace orch
