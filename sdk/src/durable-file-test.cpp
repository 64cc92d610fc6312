#include "orch/durable-file.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "orch/attempt.h"
#include "orch/testing/test-host.h"

namespace orch {
namespace {

std::string contentOfFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}
void putFile(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
size_t entriesIn(kj::StringPtr folder) {
  auto all = std::filesystem::directory_iterator(folder.cStr());
  return std::distance(begin(all), end(all));
}

TEST_CASE("durable file: is replaced as a whole, also over what a crash has left", "[env]") {
  testing::TestFolder folder("replace");
  std::string path = folder.sub("file").cStr();
  for (auto outlives : {Outlives::PROCESS, Outlives::POWER}) {
    putFile(unfinishedName(path), "half of something longer");
    replaceFile(path, "new"_kj.asBytes(), outlives, 0640);
    CHECK(contentOfFile(path) == "new");
    CHECK(entriesIn(folder.path()) == 1);
  }
  struct stat info;
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
}

TEST_CASE("durable file: a replacement that fails leaves the old one and nothing beside it",
          "[env]") {
  testing::TestFolder folder("replace-fails");
  std::string path = folder.sub("file").cStr();
  std::filesystem::create_directory(path);  // rename(2) refuses
  auto outcome = attemptNow([&] { replaceFile(path, "x"_kj.asBytes(), Outlives::POWER); });
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.message() == kj::str("cannot write '", path.c_str(), "': Is a directory"));
  CHECK(entriesIn(folder.path()) == 1);
}

TEST_CASE("durable file: too few descriptors are no fault of the file", "[env]") {
  testing::TestFolder folder("no-descriptors");
  std::string path = folder.sub("file").cStr();
  struct rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
  struct rlimit none = limit;
  none.rlim_cur = 0;
  KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &none));
  auto outcome = attemptNow([&] { replaceFile(path, "x"_kj.asBytes(), Outlives::POWER); });
  KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &limit));
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.error().getType() == kj::Exception::Type::OVERLOADED);
  CHECK_THAT(outcome.message().cStr(), Catch::EndsWith("raise the limit of open files "
                                                       "(LimitNOFILE of orchd's unit)"));
}

TEST_CASE("checked file: every flipped byte and every cut is refused by name", "[env]") {
  testing::TestFolder folder("checked");
  std::string path = folder.sub("index").cStr();
  CHECK(readChecked(path, "index", "-") == nullptr);
  writeChecked(path, "what the images are"_kj.asBytes());
  auto good = contentOfFile(path);
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= 0x20;
    putFile(path, bad);
    REQUIRE_THROWS(readChecked(path, "index", "import again"));
    putFile(path, good.substr(0, i));
    REQUIRE_THROWS(readChecked(path, "index", "import again"));
  }
  putFile(path, good.substr(1));
  auto outcome = attemptNow([&] { readChecked(path, "index", "do X"); });
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.message() == kj::str("the index '", path.c_str(),
                                     "' is damaged: it does not begin as such a file does; do X"));
}

TEST_CASE("removal: a tree is removed however deep it is", "[env][root]") {
  testing::TestFolder folder("deep");
  std::string disk = folder.sub("disk").cStr(), tree = disk + "/tree";
  KJ_SYSCALL(mkdir(disk.c_str(), 0755));
  // In memory: a disk takes a millisecond for each folder.
  KJ_SYSCALL(mount("orch-sdk-test", disk.c_str(), "tmpfs", 0, "size=64m"));
  KJ_DEFER(umount2(disk.c_str(), MNT_DETACH));
  KJ_SYSCALL(mkdir(tree.c_str(), 0755));
  int fd;
  KJ_SYSCALL(fd = open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  kj::AutoCloseFd here(fd);
  constexpr int LEVELS = 40'000;
  for (int i = 0; i < LEVELS; ++i) {
    KJ_SYSCALL(mkdirat(here, "d", 0755));
    if (i % 10'000 == 0) {
      KJ_SYSCALL(symlinkat("/", here, "link"));
      KJ_SYSCALL(mkdirat(here, "empty", 0755));
    }
    KJ_SYSCALL(fd = openat(here, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    here = kj::AutoCloseFd(fd);
  }
  here = nullptr;
  putFile(disk + "/file", "x");
  removeTree(tree);
  removeTree(tree);  // gone already
  removeTree(disk + "/file");
  CHECK(std::filesystem::is_empty(disk));
}

}  // namespace
}  // namespace orch
