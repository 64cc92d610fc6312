#include "kernel/node-folders.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/test-host.h"

namespace orch {
namespace {

mode_t modeOf(const std::string& path) {
  struct stat info;
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

TEST_CASE("node folders: the mode is set on a folder that is made, never on one that is there",
          "[config]") {
  testing::TestFolder scratch("node-folders");
  std::string made = scratch.sub("a/data").cStr(), there = scratch.sub("there").cStr();
  makeNodeFolder(made, "data", 0700);
  CHECK(modeOf(made) == 0700);
  REQUIRE(mkdir(there.c_str(), 0755) == 0);
  REQUIRE(chmod(there.c_str(), 0751) == 0);
  makeNodeFolder(there, "data", 0700);
  CHECK(modeOf(there) == 0751);
}

TEST_CASE("node folders: a data folder that others may write to is refused with the remedy",
          "[config]") {
  testing::TestFolder scratch("node-folders-open");
  std::string folder = scratch.sub("data").cStr();
  makeNodeFolder(folder, "data", 0700);
  requireOwnFolder(folder, "data");
  REQUIRE(chmod(folder.c_str(), 0702) == 0);
  auto outcome = attemptNow([&]() { requireOwnFolder(folder, "data"); });
  REQUIRE_FALSE(outcome.ok());
  CHECK(plainText(outcome.error()) ==
        kj::str("the data folder '", folder.c_str(),
                "' may be written by others than its owner; run: chmod go-w ", folder.c_str()));
}

TEST_CASE("node folders: a second owner is told who has the folder", "[config]") {
  testing::TestFolder scratch("node-folders-lock");
  auto first = lockNodeFolder(scratch.path().cStr(), "data");
  auto outcome = attemptNow([&]() { lockNodeFolder(scratch.path().cStr(), "data"); });
  REQUIRE_FALSE(outcome.ok());
  CHECK(plainText(outcome.error()) ==
        kj::str("another orchd (pid ", getpid(), ") uses the data folder '", scratch.path(),
                "'; stop it, or give this one a 'data' and a 'run' of its own in [node]"));
}

TEST_CASE("node folders: what cannot be a folder is named with the setting", "[config]") {
  auto outcome = attemptNow([&]() { makeNodeFolder("/proc/version/data", "data", 0700); });
  REQUIRE_FALSE(outcome.ok());
  CHECK(plainText(outcome.error()).startsWith("cannot make the folder '/proc/version"));
}

}  // namespace
}  // namespace orch
