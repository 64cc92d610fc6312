#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>

#include "orch/testing/test-host.h"
#include "store-fixture.h"
#include "test-images.h"

namespace orch::image::oci::test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("holds: durable before the answer, and nothing held is removed", "[image][root]") {
  TestStore test("holds");
  writeLayout(test.sub("layout"), {imageOf("a:1", "a"), imageOf("b:1", "b")});
  auto ids = test.import(test.sub("layout"));
  test.ensure("a:1", "task1");
  CHECK(filesIn(test.root() + "/holds") == std::vector<std::string>{"task1." + ids[0].substr(7)});
  test.ensure("a:1", "task2");
  auto remove = [&](const std::string& name, bool force) {
    auto request = test.service().removeRequest();
    request.setReference(name);
    request.setForce(force);
    request.send().wait(test.io.waitScope);
  };
  for (bool force : {false, true}) {
    CHECK(test.errorOf([&] { remove("a:1", force); }) ==
          "cannot remove image 'a:1': it is held by task1, task2; remove what runs it first");
  }
  test.restart();
  CHECK(test.errorOf([&] { remove("a:1", true); }) != "");
  auto prune = test.service().pruneRequest();
  prune.setAll(true);
  auto pruned = prune.send().wait(test.io.waitScope);
  CHECK(pruned.getRemoved().size() == 2);  // the name and the id of b
  CHECK(pruned.getFreedBytes() == 1 + imageOf("b:1", "b").layers[0].blob.size());
  CHECK(filesIn(test.root() + "/layers").size() == 1);

  auto retain = test.service().retainHoldersRequest();
  retain.initHolders(1).set(0, "task2");
  retain.send().wait(test.io.waitScope);
  CHECK(test.errorOf([&] { remove("a:1", true); }) ==
        "cannot remove image 'a:1': it is held by task2; remove what runs it first");
  auto release = test.service().releaseRequest();
  release.setHolder("task2");
  release.send().wait(test.io.waitScope);
  remove("a:1", false);
  CHECK(filesIn(test.root() + "/holds").empty());
  checkNothingLeft(test);
  CHECK(test.eventsOf("image.removed") == 2);
  CHECK(test.errorOf([&] { test.ensure("a:1", "../x"); }).find("invalid holder '../x'") == 0);
}

TEST_CASE("limit: what nobody needs goes, the longest unused first", "[image][root]") {
  TestStore test("limit");
  uint64_t taken = 0;
  auto add = [&](const std::string& name) {
    auto image = imageOf(name, "content of " + name);
    writeLayout(test.sub(name), {image});
    taken += image.layers[0].blob.size() + std::string("content of " + name).size();
    return test.import(test.sub(name))[0];
  };
  using Removed = std::vector<std::string>;
  auto limit = [&](uint64_t bytes, const char* needed, kj::Duration unused = 0 * kj::SECONDS) {
    auto request = test.service().limitRequest();
    request.setBytes(bytes);
    request.initNeeded(1).set(0, needed);
    request.setUnusedMs(unused / kj::MILLISECONDS);
    auto answer = request.send().wait(test.io.waitScope);
    taken -= answer.getFreedBytes();
    Removed removed;
    for (auto name : answer.getRemoved()) removed.push_back(name.cStr());
    return removed;
  };
  add("held:1");
  add("needed:1");
  auto first = add("first:1");
  test.ensure("held:1", "task1");
  // None has been unused for long.
  CHECK(limit(0, "needed:1", 1 * kj::HOURS) == Removed{});
  auto second = add("second:1");
  CHECK(limit(taken, "needed:1") == Removed{});
  CHECK(limit(taken - 1, "needed:1") == Removed{"first:1", first});
  auto resolve = test.service().resolveRequest();
  resolve.setReference("needed:1");
  auto pin = kj::str("needed:1@", resolve.send().wait(test.io.waitScope).getDigest());
  CHECK(limit(0, pin.cStr()) == Removed{"second:1", second});
  CHECK(test.eventsOf("image.removed") == 2);
  // Nobody needs them any more; until a moment ago somebody did.
  auto release = test.service().releaseRequest();
  release.setHolder("task1");
  release.send().wait(test.io.waitScope);
  CHECK(limit(0, "none:1", 1 * kj::HOURS) == Removed{});
  CHECK(limit(0, "none:1").size() == 4);
  CHECK(taken == 0);
  checkNothingLeft(test);
}

TEST_CASE("holds: a hundred at once share their syncs", "[image][root]") {
  TestStore test("many");
  writeLayout(test.sub("layout"), {imageOf("a:1", "a")});
  test.import(test.sub("layout"));
  auto answers = kj::heapArrayBuilder<kj::Promise<std::string>>(100);
  for (int i = 0; i < 100; ++i) answers.add(test.ensureLater("a:1", "task" + std::to_string(i)));
  kj::joinPromises(answers.finish()).wait(test.io.waitScope);
  CHECK(filesIn(test.root() + "/holds").size() == 100);
}

TEST_CASE("remove: names one by one, the image with the last", "[image][root]") {
  TestStore test("remove");
  writeLayout(test.sub("layout"), {imageOf("", "a")});
  auto id = test.import(test.sub("layout"), "one:1").at(0);
  test.import(test.sub("layout"), "two:2");
  auto remove = [&](const std::string& name, bool force = false) {
    auto request = test.service().removeRequest();
    request.setReference(name);
    request.setForce(force);
    auto answer = request.send().wait(test.io.waitScope);
    std::vector<std::string> removed;
    for (auto text : answer.getRemoved()) removed.push_back(text.cStr());
    return removed;
  };
  CHECK(test.errorOf([&] { remove("onne:1"); }) ==
        "no image 'onne:1' on this node; similar: 'one:1'");
  CHECK(test.errorOf([&] { remove("postgres"); }) ==
        "no image 'postgres' on this node; 'orch image ls' lists those that are");
  CHECK(test.errorOf([&] { remove(id); }) ==
        "cannot remove image '" + id +
            "': it has several names (one:1, two:2); remove them one by one, or use --force");
  CHECK(remove("one:1") == std::vector<std::string>{"one:1"});
  CHECK(remove(id.substr(7, 12)) == std::vector<std::string>{"two:2", id});
  checkNothingLeft(test);
}

TEST_CASE("recover: what a killed plugin left goes, what it had stays", "[image][root]") {
  TestStore test("recover");
  writeLayout(test.sub("layout"), {imageOf("a:1", "a")});
  auto id = test.import(test.sub("layout")).at(0);
  test.ensure("a:1", "task1");
  writeFile(test.root() + "/tmp/job/layers/x/file", "half");
  writeFile(test.root() + "/.index.new", "half");
  writeFile(test.root() + "/layers/" + std::string(32, 'b') + "/file", "nobody's");
  writeFile(test.root() + "/blobs/" + HEX, "nobody's");
  test.restart();
  CHECK(filesIn(test.root() + "/tmp").empty());
  CHECK(filesIn(test.root() + "/layers").size() == 1);
  CHECK(filesIn(test.root() + "/blobs").size() == 2);
  CHECK_FALSE(fs::exists(test.root() + "/.index.new"));
  CHECK(test.ensure("a:1", "task2") == id);

  // A damaged index is refused by name; moved away, the layers of held images stay.
  test.stop();
  auto index = test.root() + "/index";
  auto good = readFile(index);
  for (size_t i = 0; i < good.size(); i += 100) {
    auto bad = good;
    bad[i] ^= 1;
    writeFile(index, bad);
    auto error = test.errorOf([&] { test.restart(); });
    INFO(error);
    REQUIRE(error.find("the index of images '" + index + "' is damaged: ") == 0);
    REQUIRE(error.find("import or pull the images anew") != std::string::npos);
  }
  fs::remove(index);
  test.restart();
  CHECK(filesIn(test.root() + "/layers").size() == 1);
  CHECK(test.import(test.sub("layout")).at(0) == id);
}

TEST_CASE("inspect: a damaged configuration is refused by name", "[image][root]") {
  TestStore test("blob");
  writeLayout(test.sub("layout"), {imageOf("a:1", "a")});
  auto id = test.import(test.sub("layout")).at(0);
  auto path = test.root() + "/blobs/" + id.substr(7);
  auto bytes = readFile(path);
  bytes[40] ^= 1;
  writeFile(path, bytes);
  CHECK(test.errorOf([&] { test.layersOf("a:1"); }) ==
        "the configuration of image 'a:1', '" + path +
            "' is damaged: its checksum does not match; pull or import the image again");
  test.import(test.sub("layout"));
  CHECK(test.layersOf("a:1").size() == 1);
  // A layer that somebody deleted.
  fs::remove_all(test.layersOf("a:1")[0]);
  test.restart();
  CHECK(test.errorOf([&] { test.ensure("a:1", "t"); }) ==
        "image 'a:1' is damaged: the folder of one of its layers is missing; pull or import it "
        "again");
  test.import(test.sub("layout"));
  CHECK(test.ensure("a:1", "t") == id);
}

TEST_CASE("recover: what cannot be removed is reported, and the rest works", "[image][root]") {
  TestStore test("stuck");
  writeLayout(test.sub("layout"), {imageOf("a:1", "a")});
  auto id = test.import(test.sub("layout")).at(0);
  auto stuck = test.root() + "/tmp/job/mounted";
  fs::create_directories(stuck);
  REQUIRE(mount("orch-image-test", stuck.c_str(), "tmpfs", 0, "size=4k") == 0);
  KJ_DEFER(umount2(stuck.c_str(), MNT_DETACH));
  writeFile(test.root() + "/tmp/other/file", "x");
  test.restart();
  CHECK(filesIn(test.root() + "/tmp") == std::vector<std::string>{"job"});
  CHECK(test.ensure("a:1", "t") == id);
  CHECK(test.testHost->logLines().back() == "warn image.cleanup-failed");
}

TEST_CASE("damage: a layer that came again repairs all images that have it", "[image][root]") {
  TestStore test("repair");
  auto base = TestLayer({{"base", 'f', "b"}});
  TestImage one{"one:1", {base, TestLayer({{"1", 'f', "1"}})}};
  TestImage two{"two:1", {base, TestLayer({{"2", 'f', "2"}})}};
  writeLayout(test.sub("both"), {one, two});
  writeLayout(test.sub("one"), {one});
  auto ids = test.import(test.sub("both"));
  fs::remove_all(test.layersOf("one:1")[0]);
  test.restart();
  CHECK(test.errorOf([&] { test.ensure("one:1", "t"); }).find("is damaged") != std::string::npos);
  CHECK(test.errorOf([&] { test.ensure("two:1", "t"); }).find("is damaged") != std::string::npos);
  test.import(test.sub("one"));
  CHECK(test.ensure("one:1", "t") == ids[0]);
  CHECK(test.ensure("two:1", "t") == ids[1]);
}

TEST_CASE("disk full: named, and nothing is left over", "[image][root]") {
  testing::TestFolder folder("image-full-disk");
  auto disk = std::string(folder.sub("disk").cStr());
  fs::create_directories(disk);
  REQUIRE(mount("orch-image-test", disk.c_str(), "tmpfs", 0, "size=1m") == 0);
  KJ_DEFER(umount2(disk.c_str(), MNT_DETACH));
  {
    TestStore test("full", disk + "/store");
    writeLayout(test.sub("layout"),
                {{"big:1", {TestLayer({{"big", 'f', std::string(4 << 20, 'x')}}, "gzip")}}});
    auto error = test.errorOf([&] { test.import(test.sub("layout")); });
    INFO(error);
    CHECK(error.find("of image 'big:1': its entry 'big' cannot be unpacked: No space left") !=
          std::string::npos);
    checkNothingLeft(test);
    writeLayout(test.sub("plain"),
                {{"big:1", {TestLayer({{"big", 'f', std::string(4 << 20, 'x')}})}}});
    CHECK(test.errorOf([&] { test.import(test.sub("plain")); }) ==
          "cannot import '" + test.sub("plain") +
              "': a layer's blob cannot be kept: No space left on device");
    checkNothingLeft(test);
    writeLayout(test.sub("small"), {imageOf("small:1", "s")});
    CHECK(test.import(test.sub("small")).size() == 1);
  }
}

TEST_CASE("disk full: an image whose layers just fit leaves none of them", "[image][root]") {
  testing::TestFolder folder("image-brim-full-disk");
  auto disk = std::string(folder.sub("disk").cStr());
  fs::create_directories(disk);
  REQUIRE(mount("orch-image-test", disk.c_str(), "tmpfs", 0, "size=1m") == 0);
  KJ_DEFER(umount2(disk.c_str(), MNT_DETACH));
  {
    TestStore test("brim", disk + "/store");
    struct statfs room;
    REQUIRE(statfs(disk.c_str(), &room) == 0);
    // The blob takes a page.
    std::string content((room.f_bfree - 1) * room.f_bsize, 'x');
    writeLayout(test.sub("layout"), {{"big:1", {TestLayer({{"big", 'f', content}}, "gzip")}}});
    auto error = test.errorOf([&] { test.import(test.sub("layout")); });
    INFO(error);
    CHECK(error.find("': cannot write '" + test.root() + "/blobs/") != std::string::npos);
    CHECK(error.find("No space left") != std::string::npos);
    checkNothingLeft(test);
    writeLayout(test.sub("small"), {imageOf("small:1", "s")});
    CHECK(test.import(test.sub("small")).size() == 1);
  }
}

TEST_CASE("store: a second one on the same folder is refused", "[image][root]") {
  TestStore test("lock");
  ImageStore other(*test.env, *test.host, test.settings);
  // The first goes while the second waits for its lock.
  auto recovering = other.recover().promise().eagerlyEvaluate(nullptr);
  CHECK_FALSE(recovering.poll(test.io.waitScope));
  test.stop();
  recovering.wait(test.io.waitScope);
}

}  // namespace
}  // namespace orch::image::oci::test
