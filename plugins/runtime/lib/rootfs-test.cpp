#include "rootfs.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "orch/testing/test-host.h"
#include "volumes.h"

namespace orch::runtime {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> makeLayers(const testing::TestFolder& folder, unsigned count) {
  std::vector<std::string> layers;
  for (unsigned i = 0; i < count; ++i) {
    std::string path = folder.sub(kj::str("layer:with,signs-", i)).cStr();
    fs::create_directories(path);
    std::ofstream(path + "/top") << i;
    std::ofstream(path + "/of-" + std::to_string(i)) << i;
    layers.push_back(path);
  }
  for (auto name : {"upper", "work", "root"}) fs::create_directories(folder.sub(name).cStr());
  return layers;
}

TEST_CASE("rootfs: a hundred layers by either way of mounting", "[runtime][root]") {
  testing::TestFolder folder("rootfs");
  auto layers = makeLayers(folder, 100);
  std::string upper = folder.sub("upper").cStr(), work = folder.sub("work").cStr(),
              root = folder.sub("root").cStr();
  SECTION("one by one") { mountOverlay(layers, upper, work, root); }
  SECTION("in one text") { mountOverlayByOptions(layers, upper, work, root, true); }
  CHECK(RootFolder(root).read("/top") == "99");
  CHECK(RootFolder(root).read("of-0") == "0");
  std::ofstream(root + "/new") << "x";
  unmount(root);
  unmount(root);
  CHECK(fs::exists(upper + "/new"));
  CHECK_FALSE(fs::exists(root + "/new"));
}

TEST_CASE("rootfs: an image without layers is an empty root", "[runtime][root]") {
  testing::TestFolder folder("rootfs-empty");
  makeLayers(folder, 0);
  mountOverlay({}, folder.sub("upper").cStr(), folder.sub("work").cStr(),
               folder.sub("root").cStr());
  CHECK(fs::is_empty(folder.sub("root").cStr()));
  unmount(folder.sub("root").cStr());
}

TEST_CASE("rootfs: an image's links lead nowhere but into it", "[runtime]") {
  testing::TestFolder folder("rootfs-links");
  std::string root = folder.sub("root").cStr();
  fs::create_directories(root + "/real");
  std::ofstream(folder.sub("secret").cStr()) << "outside";
  fs::create_symlink(folder.sub("secret").cStr(), root + "/absolute");
  fs::create_symlink("../secret", root + "/relative");
  fs::create_symlink("/real", root + "/srv");
  fs::create_symlink("loop", root + "/loop");
  RootFolder inside(root);
  CHECK(inside.read("/absolute") == "");
  CHECK(inside.read("/relative") == "");
  CHECK(inside.read("/loop") == "");
  inside.makeDirectories("/srv/a/b");
  CHECK(fs::is_directory(root + "/real/a/b"));
  std::ofstream(root + "/file") << "x";
  CHECK_THROWS(inside.makeDirectories("/file/a"));
}

TEST_CASE("volumes: a copy keeps owners, modes, times and links", "[runtime][root]") {
  testing::TestFolder folder("volume");
  std::string root = folder.sub("root").cStr();
  fs::create_directories(root + "/data/sub");
  std::ofstream(root + "/data/sub/file") << "content";
  fs::create_symlink("sub/file", root + "/data/link");
  REQUIRE(chown((root + "/data/sub/file").c_str(), 12, 34) == 0);
  REQUIRE(chmod((root + "/data/sub/file").c_str(), 04751) == 0);
  REQUIRE(lchown((root + "/data/link").c_str(), 56, 78) == 0);
  RootFolder inside(root);
  auto data = ensureVolume(folder.sub("volumes/v").cStr(), "1", inside, "/data");
  struct stat file, link;
  REQUIRE(stat((data + "/sub/file").c_str(), &file) == 0);
  CHECK(file.st_uid == 12);
  CHECK(file.st_gid == 34);
  CHECK((file.st_mode & 07777) == 04751);
  REQUIRE(lstat((data + "/link").c_str(), &link) == 0);
  CHECK(link.st_uid == 56);
  CHECK(fs::read_symlink(data + "/link") == "sub/file");

  std::ofstream(data + "/own") << "x";
  ensureVolume(folder.sub("volumes/v").cStr(), "2", inside, "/data");
  CHECK(fs::exists(data + "/own"));
  fs::create_directories(folder.sub("volumes/w.new-3/_data").cStr());
  CHECK(listVolumes(folder.sub("volumes").cStr()) == std::vector<std::string>{"v"});
  removeHalfMadeVolumes(folder.sub("volumes").cStr());
  CHECK_FALSE(fs::exists(folder.sub("volumes/w.new-3").cStr()));
}

}  // namespace
}  // namespace orch::runtime
