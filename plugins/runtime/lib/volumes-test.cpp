#include "volumes.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "file-access.h"
#include "orch/attempt.h"
#include "orch/testing/test-host.h"

namespace orch::runtime {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

Names namesOf(const VolumeFolder& volumes) {
  Names names;
  for (auto& volume : volumes.list()) names.push_back(volume.name);
  return names;
}

Names usersOf(const VolumeFolder& volumes) {
  auto all = volumes.list();
  return all.size() == 1 ? all[0].usedBy : Names{"not one volume"};
}

// A root file system with a folder `/data`.
std::string makeRoot(const testing::TestFolder& folder) {
  std::string root = folder.sub("root").cStr();
  fs::create_directories(root + "/data/sub");
  std::ofstream(root + "/data/sub/file") << "content";
  fs::create_symlink("sub/file", root + "/data/link");
  KJ_SYSCALL(chown((root + "/data/sub/file").c_str(), 12, 34));
  KJ_SYSCALL(chmod((root + "/data/sub/file").c_str(), 04751));
  KJ_SYSCALL(lchown((root + "/data/link").c_str(), 56, 78));
  KJ_SYSCALL(chmod((root + "/data").c_str(), 0750));
  return root;
}

// A full disk of 256 KiB, in a folder of the test.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path(path) {
    fs::create_directories(path);
    KJ_SYSCALL(mount("tmpfs", path.c_str(), "tmpfs", 0, "size=256k"));
  }
  ~SmallDisk() { umount2(path.c_str(), MNT_DETACH); }
  void fill() { std::ofstream(path + "/fill") << std::string(1 << 20, 'x'); }

 private:
  std::string path;
};

TEST_CASE("volumes: a copy keeps owners, modes, times and links", "[runtime][root]") {
  testing::TestFolder folder("volume-copy");
  RootFolder inside(makeRoot(folder));
  VolumeFolder volumes(folder.sub("volumes").cStr(), "runtime.a");
  auto data = volumes.use("v", "1", inside, "/data").data;
  struct stat file, link, own;
  REQUIRE(stat((data + "/sub/file").c_str(), &file) == 0);
  CHECK(file.st_uid == 12);
  CHECK(file.st_gid == 34);
  CHECK((file.st_mode & 07777) == 04751);
  REQUIRE(lstat((data + "/link").c_str(), &link) == 0);
  CHECK(link.st_uid == 56);
  CHECK(fs::read_symlink(data + "/link") == "sub/file");
  REQUIRE(stat(data.c_str(), &own) == 0);
  CHECK((own.st_mode & 07777) == 0750);

  fs::remove_all(data + "/sub");
  volumes.use("v", "2", inside, "/data");
  CHECK_FALSE(fs::exists(data + "/sub"));  // what is not empty is left as it is
}

TEST_CASE("volumes: names of one file stay names of one file", "[runtime][root]") {
  testing::TestFolder folder("volume-links");
  std::string root = makeRoot(folder);
  fs::create_hard_link(root + "/data/sub/file", root + "/data/again");
  fs::create_hard_link(root + "/data/sub/file", root + "/outside");
  fs::create_directories(root + "/data/zz");
  fs::create_hard_link(root + "/data/sub/file", root + "/data/zz/third");
  KJ_SYSCALL(
      linkat(AT_FDCWD, (root + "/data/link").c_str(), AT_FDCWD, (root + "/data/link2").c_str(), 0));
  RootFolder inside(root);
  VolumeFolder volumes(folder.sub("volumes").cStr(), "runtime.a");
  auto data = volumes.use("v", "1", inside, "/data").data;
  struct stat info;
  for (auto name : {"/again", "/sub/file", "/zz/third"}) {
    REQUIRE(stat((data + name).c_str(), &info) == 0);
    CHECK(info.st_nlink == 3);  // the fourth name is not in the volume
    CHECK(info.st_uid == 12);
  }
  REQUIRE(lstat((data + "/link2").c_str(), &info) == 0);
  CHECK(info.st_nlink == 2);
}

TEST_CASE("volumes: one that somebody else fills is not waited for", "[runtime][root]") {
  testing::TestFolder folder("volume-locked");
  RootFolder inside(makeRoot(folder));
  VolumeFolder volumes(folder.sub("volumes").cStr(), "runtime.a");
  fs::create_directories(folder.sub("volumes/v").cStr());
  {
    kj::AutoCloseFd other(open(folder.sub("volumes/v").cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(flock(other, LOCK_EX) == 0);
    auto used = volumes.use("v", "1", inside, "/data");
    CHECK(used.locked);
    CHECK(used.data == "");
    volumes.release("1");
    CHECK_THROWS_WITH(volumes.remove("v"), Catch::Contains("is just being filled"));
    CHECK(volumes.prune().empty());
  }
  auto later = volumes.use("v", "1", inside, "/data", false);
  CHECK_FALSE(later.locked);
  CHECK(later.data == "");  // it would have to be filled
  CHECK(volumes.use("v", "1", inside, "/data").data == volumes.dataOf("v"));
  CHECK(volumes.use("v", "1", inside, "/data", false).data == volumes.dataOf("v"));
}

TEST_CASE("volumes: an empty one gets what the image has, mounted or not", "[runtime][root]") {
  testing::TestFolder folder("volume-empty");
  RootFolder inside(makeRoot(folder));
  VolumeFolder volumes(folder.sub("volumes").cStr(), "runtime.a");
  auto data = volumes.use("v", "1", inside, "/nothing-there").data;
  struct stat before, after;
  REQUIRE(stat(data.c_str(), &before) == 0);
  volumes.use("v", "2", inside, "/data");
  CHECK(fs::exists(data + "/sub/file"));
  REQUIRE(stat(data.c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  CHECK((after.st_mode & 07777) == 0750);
  CHECK(entriesOf(folder.sub("volumes/.new/runtime.a").cStr()).empty());
}

TEST_CASE("volumes: no name that a user can give is taken for a half-made one", "[runtime][root]") {
  testing::TestFolder folder("volume-names");
  RootFolder inside(makeRoot(folder));
  VolumeFolder volumes(folder.sub("volumes").cStr(), "runtime.a");
  auto data = volumes.use("db.new-data", "1", inside, "/data").data;
  fs::create_directories(folder.sub("volumes/.new/runtime.a/2/_data/half").cStr());
  volumes.recover({{"1", {"db.new-data"}}});
  CHECK(fs::exists(data + "/sub/file"));
  CHECK(namesOf(volumes) == Names{"db.new-data"});
  CHECK(entriesOf(folder.sub("volumes/.new/runtime.a").cStr()).empty());
}

TEST_CASE("volumes: what a crash cut off while filling an empty one is finished",
          "[runtime][root]") {
  testing::TestFolder folder("volume-fill");
  RootFolder inside(makeRoot(folder));
  VolumeFolder volumes(folder.sub("volumes").cStr(), "runtime.a");
  auto data = volumes.use("v", "1", inside, "/nothing-there").data;
  std::string fresh = folder.sub("volumes/.new/runtime.a/2").cStr();
  fs::create_directories(fresh + "/_data/second");
  fs::create_directories(data + "/first");
  fs::create_symlink("v", fresh + "/into");
  volumes.recover({});
  CHECK(entriesOf(data) == Names{"first", "second"});
  CHECK_FALSE(fs::exists(fresh));
}

TEST_CASE("volumes: a full disk is named and leaves nothing half-made", "[runtime][root]") {
  testing::TestFolder folder("volume-full");
  auto root = makeRoot(folder);
  std::ofstream(root + "/data/large") << std::string(200'000, 'x');
  std::ofstream(root + "/data/more") << std::string(200'000, 'x');
  RootFolder inside(root);
  std::string path = folder.sub("volumes").cStr();
  SmallDisk disk(path);
  VolumeFolder volumes(path, "runtime.a");
  auto outcome = attemptNow([&] { return volumes.use("v", "1", inside, "/data"); });
  REQUIRE_FALSE(outcome.ok());
  CHECK_THAT(outcome.message().cStr(), Catch::StartsWith("cannot write '" + path));
  CHECK_THAT(outcome.message().cStr(), Catch::Contains("No space left on device; free space on"));
  CHECK(entriesOf(path + "/.new/runtime.a").empty());
  CHECK_FALSE(fs::exists(volumes.dataOf("v")));
  volumes.release("1");
  CHECK(usersOf(volumes).empty());
}

TEST_CASE("volumes: one that another runtime's container uses is not removed", "[runtime][root]") {
  testing::TestFolder folder("volume-shared");
  RootFolder inside(makeRoot(folder));
  std::string path = folder.sub("volumes").cStr();
  VolumeFolder crun(path, "runtime.crun"), runc(path, "runtime.runc");
  auto data = crun.use("v", "1", inside, "/data").data;
  CHECK(runc.use("v", "2", inside, "/data").data == data);
  crun.release("1");
  CHECK(usersOf(crun) == Names{"2"});
  auto outcome = attemptNow([&] { return crun.remove("v"); });
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.message() == "volume 'v' is in use by task '2'; remove its service first");
  crun.recover({});  // that of the other one is not its own to void
  CHECK(usersOf(crun) == Names{"2"});
  runc.recover({});
  CHECK(crun.remove("v"));
  CHECK_FALSE(crun.remove("v"));
  CHECK(crun.list().empty());
}

TEST_CASE("volumes: those of the time before runtimes shared them are moved", "[runtime][root]") {
  testing::TestFolder folder("volume-old");
  std::string path = folder.sub("volumes").cStr(), old = folder.sub("runtime.a/volumes").cStr();
  fs::create_directories(old + "/v/_data/kept");
  fs::create_directories(old + "/w/_data/old");
  fs::create_directories(path + "/w/_data/new");
  VolumeFolder volumes(path, "runtime.a");
  CHECK(volumes.adopt(old) == Names{"w"});
  CHECK(namesOf(volumes) == Names{"v", "w"});
  CHECK(fs::exists(path + "/v/_data/kept"));
  CHECK(fs::exists(path + "/w/_data/new"));
  CHECK(fs::exists(old + "/w/_data/old"));
}

}  // namespace
}  // namespace orch::runtime
