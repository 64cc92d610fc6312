#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/exception.h>
#include <kj/io.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "orch/testing/test-host.h"
#include "test-images.h"
#include "unpack/digest.h"
#include "unpack/layer-unpacker.h"
#include "unpack/oci-json.h"

namespace orch::image::oci::test {
namespace {

namespace fs = std::filesystem;

struct Bench {
  testing::TestFolder folder{"image-unpack"};
  int count = 0;
  std::string fresh() {
    auto path = std::string(folder.path().cStr()) + "/layer" + std::to_string(count++);
    fs::create_directories(path);
    return path;
  }
  LayerStats unpack(const std::string& bytes, const std::string& into, uint64_t max = 1 << 30) {
    auto path = std::string(folder.path().cStr()) + "/blob";
    writeFile(path, bytes);
    kj::AutoCloseFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return unpackLayer(fd, into, max, nullptr);
  }
  std::string errorOf(const std::string& bytes, uint64_t max = 1 << 30) {
    auto into = fresh();
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { unpack(bytes, into, max); })) {
      return exception->getDescription().cStr();
    }
    return "";
  }
};

std::string attribute(const std::string& path, const char* name) {
  char value[64];
  ssize_t n = lgetxattr(path.c_str(), name, value, sizeof(value));
  return n < 0 ? "" : std::string(value, n);
}

bool isWhiteout(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == 0;
}

TEST_CASE("layer: plain, gzip, zstd and xz give the same files and the same id", "[image][root]") {
  Bench bench;
  std::string large(300'000, 'x');
  std::vector<TarEntry> entries = {{"./", 'd', "", 0755},
                                   {"bin/", 'd', "", 0755},
                                   {"bin/sh", 'f', large, 0755},
                                   {"empty", 'f', ""}};
  for (auto* filter : {"", "gzip", "zstd", "xz"}) {
    TestLayer layer(entries, filter);
    auto into = bench.fresh();
    auto stats = bench.unpack(layer.blob, into);
    CHECK(stats.diffId == layer.diffId);
    CHECK(stats.tarBytes == layer.tar.size());
    CHECK(stats.unpackedBytes == large.size());
    CHECK(readFile(into + "/bin/sh") == large);
    CHECK(fs::is_empty(into + "/empty"));
  }
}

TEST_CASE("layer: modes, owners, links, devices, times and attributes survive", "[image][root]") {
  Bench bench;
  TestLayer layer({{"a", 'd', "", 01777},
                   {"a/su", 'f', "#!", 04755, 1000, {{"user.note", "kept"}}},
                   {"a/hard", 'h', "a/su"},
                   {"a/soft", 'l', "/etc/passwd"},
                   {"dev", 'd', "", 0755},
                   {"dev/null", 'c', "", 0666},
                   {"name-\xc3\xa9", 'f', "utf8"}});
  auto into = bench.fresh();
  bench.unpack(layer.blob, into);
  struct stat su, hard, folder, null;
  REQUIRE(lstat((into + "/a/su").c_str(), &su) == 0);
  REQUIRE(lstat((into + "/a/hard").c_str(), &hard) == 0);
  REQUIRE(lstat((into + "/a").c_str(), &folder) == 0);
  REQUIRE(lstat((into + "/dev/null").c_str(), &null) == 0);
  CHECK((su.st_mode & 07777) == 04755);
  CHECK(su.st_uid == 1000);
  CHECK(su.st_ino == hard.st_ino);
  CHECK(su.st_mtime == 1'600'000'000);
  CHECK((folder.st_mode & 07777) == 01777);
  CHECK(S_ISCHR(null.st_mode));
  CHECK(null.st_rdev == makedev(1, 3));
  CHECK(fs::read_symlink(into + "/a/soft") == "/etc/passwd");
  CHECK(attribute(into + "/a/su", "user.note") == "kept");
  CHECK(readFile(into + "/name-\xc3\xa9") == "utf8");
}

TEST_CASE("layer: whiteouts are overlayfs's own, and hide only what is below", "[image][root]") {
  Bench bench;
  TestLayer below({{"gone", 'f', "1"},
                   {"dir", 'd', "", 0755},
                   {"dir/old", 'f', "1"},
                   {"again", 'd', "", 0755},
                   {"again/old", 'f', "1"},
                   {"deep/a/old", 'f', "1"}});
  TestLayer above({{".wh.gone", 'f', ""},
                   {"dir", 'd', "", 0755},
                   {"dir/.wh..wh..opq", 'f', ""},
                   {"dir/new", 'f', "2"},
                   {".wh.again", 'f', ""},
                   {"again", 'd', "", 0755},
                   {"again/new", 'f', "2"},
                   {"deep/a/.wh..wh..opq", 'f', ""},
                   {".wh..wh.plnk", 'd', "", 0700}});
  auto lower = bench.fresh(), upper = bench.fresh();
  bench.unpack(below.blob, lower);
  bench.unpack(above.blob, upper);
  CHECK(isWhiteout(upper + "/gone"));
  CHECK(attribute(upper + "/dir", "trusted.overlay.opaque") == "y");
  CHECK(attribute(upper + "/again", "trusted.overlay.opaque") == "y");
  CHECK(attribute(upper + "/deep/a", "trusted.overlay.opaque") == "y");
  CHECK(filesIn(upper) == std::vector<std::string>{"again", "deep", "dir", "gone"});

  auto merged = bench.fresh();
  auto options = "lowerdir=" + upper + ":" + lower;
  REQUIRE(mount("overlay", merged.c_str(), "overlay", MS_RDONLY, options.c_str()) == 0);
  auto top = filesIn(merged), dir = filesIn(merged + "/dir"), again = filesIn(merged + "/again"),
       deep = filesIn(merged + "/deep/a");
  REQUIRE(umount(merged.c_str()) == 0);
  CHECK(top == std::vector<std::string>{"again", "deep", "dir"});
  CHECK(dir == std::vector<std::string>{"new"});
  CHECK(again == std::vector<std::string>{"new"});
  CHECK(deep.empty());
}

TEST_CASE("layer: a whiteout beside what replaces it leaves the replacement", "[image][root]") {
  Bench bench;
  TestLayer layer(
      {{"file", 'f', "new"}, {".wh.file", 'f', ""}, {"dir/x", 'f', "new"}, {".wh.dir", 'f', ""}});
  auto into = bench.fresh();
  bench.unpack(layer.blob, into);
  CHECK(readFile(into + "/file") == "new");
  CHECK(readFile(into + "/dir/x") == "new");
  CHECK(attribute(into + "/dir", "trusted.overlay.opaque") == "y");
}

TEST_CASE("layer: what leads out of it is refused, and nothing outside changes", "[image][root]") {
  Bench bench;
  std::string outside = std::string(bench.folder.path().cStr()) + "/outside";
  writeFile(outside + "/victim", "untouched");
  chmod((outside + "/victim").c_str(), 0600);
  std::vector<std::vector<TarEntry>> attacks = {
      {{"../outside/new", 'f', "x"}},
      {{"a/../../outside/new", 'f', "x"}},
      {{"link", 'l', outside}, {"link/new", 'f', "x"}},
      {{"link", 'l', "../outside"}, {"link/new", 'f', "x"}},
      {{"link", 'l', outside}, {"link/.wh.victim", 'f', ""}},
      {{"link", 'l', outside}, {"link/.wh..wh..opq", 'f', ""}},
      {{"link", 'l', outside}, {"link/sub/.wh..wh..opq", 'f', ""}},
      {{"hard", 'h', "../outside/victim"}},
      {{"link", 'l', outside}, {"hard", 'h', "link/victim"}},
      {{"a/.wh...", 'f', ""}},
      {{".wh.", 'f', ""}},
  };
  for (size_t i = 0; i < attacks.size(); ++i) {
    INFO("attack " << i);
    CHECK(bench.errorOf(makeTar(attacks[i])) != "");
  }
  // These two are harmless once they are taken as meant: inside of the layer.
  auto into = bench.fresh();
  bench.unpack(makeTar({{"link", 'l', outside},
                        {"link", 'd', "", 0777},
                        {"link/mine", 'f', "x"},
                        {"/absolute", 'f', "x"}}),
               into);
  CHECK(readFile(into + "/absolute") == "x");
  CHECK(readFile(into + "/link/mine") == "x");
  auto hard = bench.fresh();
  CHECK(bench.errorOf(makeTar({{"hard", 'h', outside + "/victim"}})) != "");

  CHECK(filesIn(outside) == std::vector<std::string>{"victim"});
  CHECK(readFile(outside + "/victim") == "untouched");
  CHECK(attribute(outside, "trusted.overlay.opaque") == "");
  struct stat info;
  REQUIRE(stat(outside.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0755);
  CHECK(bench.errorOf(makeTar(attacks[0])) == "its entry '../outside/new' leads out of the layer");
}

TEST_CASE("layer: a stranger's layer cannot speak to overlayfs", "[image][root]") {
  Bench bench;
  auto into = bench.fresh();
  bench.unpack(makeTar({{"d", 'd', "", 0755, 0, {{"trusted.overlay.redirect", "/x"}}}}), into);
  CHECK(attribute(into + "/d", "trusted.overlay.redirect") == "");
}

TEST_CASE("layer: damaged, endless and foreign bytes are refused", "[image]") {
  Bench bench;
  TestLayer layer({{"file", 'f', std::string(100'000, 'y')}}, "gzip");
  CHECK(bench.errorOf(layer.blob.substr(0, layer.blob.size() / 2)) != "");
  CHECK(bench.errorOf(layer.tar.substr(0, 1000)) != "");
  CHECK(bench.errorOf(std::string(2000, 'z')) != "");
  CHECK(bench.errorOf(layer.blob, 1000) ==
        "its files are larger than 1000 bytes, the setting maxLayerBytes");
  CHECK(bench.errorOf(std::string(1024, '\0')) == "");  // docker's empty layer
}

std::string jsonError(const std::function<void()>& run) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { run(); })) {
    return exception->getDescription().cStr();
  }
  return "";
}

TEST_CASE("json: broken manifests are refused with the reason", "[image]") {
  CHECK(jsonError([] { parseManifest("{"); }) == "the image manifest is no JSON");
  CHECK(jsonError([] { parseManifest("[]"); }) == "the image manifest is no JSON object");
  CHECK(jsonError([] { parseManifest(R"({"schemaVersion":1,"fsLayers":[]})"); }) ==
        "the image manifest has no 'config' (schema version 1 is not supported; push the image "
        "again)");
  CHECK(jsonError([] { parseManifest(R"({"config":{"digest":"md5:1","size":1}})"); }) ==
        "the image manifest names a blob 'md5:1': accepted are sha256 digests");
  CHECK(jsonError([] { parseManifest(R"({"config":7})"); }) ==
        "the image manifest has a 'config' of the wrong type");
  CHECK(jsonError([] { parseManifest(std::string(200'000, '[')); }) ==
        "the image manifest is nested too deeply");
  CHECK(jsonError([] { parseIndex("{}"); }) == "the image index has no 'manifests'");
  CHECK(jsonError([] { parseDockerManifest("{}"); }) ==
        "the archive's manifest.json is no JSON array");
  capnp::MallocMessageBuilder message;
  auto image = message.initRoot<schema::ImageInfo>();
  CHECK(jsonError([&] { parseConfig(R"({"config":{"Cmd":["a\u0000b"]}})", image); }) ==
        "the image configuration has a zero character in 'Cmd'");
  CHECK(jsonError([&] { parseConfig(R"({"rootfs":{"diff_ids":["../x"]}})", image); }) ==
        "the image configuration names a layer that is no sha256 digest");
}

TEST_CASE("json: a configuration becomes what a container starts from", "[image]") {
  capnp::MallocMessageBuilder message;
  auto image = message.initRoot<schema::ImageInfo>();
  parseConfig(R"({"architecture":"arm64","os":"linux","created":"1970-01-01T01:00:01.25+01:00",
    "config":{"Entrypoint":["/run"],"Cmd":["a","b"],"Env":["A=1"],"WorkingDir":"/w","User":"1:2",
    "StopSignal":"SIGINT","Labels":{"k":"v"},"Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{}}}})",
              image);
  CHECK(image.getArchitecture() == "arm64");
  CHECK(image.getCreatedAtNs() == 1'250'000'000);
  auto config = image.getConfig();
  CHECK(config.getEntrypoint()[0] == "/run");
  CHECK(config.getCommand()[1] == "b");
  CHECK(config.getEnv()[0] == "A=1");
  CHECK(config.getWorkdir() == "/w");
  CHECK(config.getUser() == "1:2");
  CHECK(config.getStopSignal() == "SIGINT");
  CHECK(config.getLabels()[0].getValue() == "v");
  CHECK(config.getVolumes()[0] == "/data");
  CHECK(config.getExposedPorts()[0] == "80/tcp");
}

}  // namespace
}  // namespace orch::image::oci::test
