#include "rootfs.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "orch/testing/test-host.h"

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
}

TEST_CASE("rootfs: more layers than one page of options holds are refused, not cut",
          "[runtime][root]") {
  testing::TestFolder folder("rootfs-page");
  auto layers = makeLayers(folder, 300);
  std::string upper = folder.sub("upper").cStr(), work = folder.sub("work").cStr(),
              root = folder.sub("root").cStr();
  CHECK_THROWS_WITH(mountOverlayByOptions(layers, upper, work, root, true),
                    Catch::Contains("the image has 300 layers; a kernel before 6.8"));
  CHECK(fs::is_empty(root));
}

}  // namespace
}  // namespace orch::runtime
