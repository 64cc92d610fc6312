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
  struct Attack {
    std::vector<TarEntry> entries;
    bool refused;  // else it is harmless once it is taken as meant: inside of the layer
  };
  std::vector<Attack> attacks = {
      {{{"../outside/new", 'f', "x"}}, true},
      {{{"a/../../outside/new", 'f', "x"}}, true},
      {{{"link", 'l', outside}, {"link/new", 'f', "x"}}, false},
      {{{"link", 'l', "../outside"}, {"link/new", 'f', "x"}}, false},
      {{{"link", 'l', "../../../../../.."}, {"link" + outside + "/new", 'f', "x"}}, false},
      {{{"link", 'l', outside}, {"link/.wh.victim", 'f', ""}}, false},
      {{{"link", 'l', outside}, {"link/.wh..wh..opq", 'f', ""}}, false},
      {{{"link", 'l', outside}, {"link/sub/.wh..wh..opq", 'f', ""}}, false},
      {{{"link", 'l', outside}, {"link", 'f', "x"}, {"link/new", 'f', "x"}}, true},
      {{{"hard", 'h', "../outside/victim"}}, true},
      {{{"link", 'l', outside}, {"hard", 'h', "link/victim"}}, true},
      {{{"a/.wh...", 'f', ""}}, true},
      {{{".wh.", 'f', ""}}, true},
  };
  for (size_t i = 0; i < attacks.size(); ++i) {
    INFO("attack " << i);
    CHECK((bench.errorOf(makeTar(attacks[i].entries)) != "") == attacks[i].refused);
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
  CHECK(bench.errorOf(makeTar(attacks[0].entries)) ==
        "its entry '../outside/new' leads out of the layer");
}

TEST_CASE("layer: its own symbolic links are followed, as in a container", "[image][root]") {
  Bench bench;
  auto into = bench.fresh();
  bench.unpack(makeTar({{"usr/lib", 'd', "", 0755},
                        {"lib", 'l', "usr/lib"},
                        {"lib/libc.so", 'f', "c"},
                        {"usr/sbin", 'l', "/lib/../bin"},
                        {"usr/sbin/sh", 'f', "s"},
                        {"up", 'l', "../../.."},
                        {"up/top", 'f', "t"},
                        {"later", 'l', "below/folder"},
                        {"later/file", 'f', "l"},
                        {"copy", 'h', "lib/libc.so"},
                        {"lib/.wh.old", 'f', ""},
                        {"lib/sub/.wh..wh..opq", 'f', ""}}),
               into);
  CHECK(readFile(into + "/usr/lib/libc.so") == "c");
  CHECK(fs::read_symlink(into + "/lib") == "usr/lib");
  CHECK(readFile(into + "/usr/bin/sh") == "s");
  CHECK(readFile(into + "/top") == "t");
  CHECK(readFile(into + "/below/folder/file") == "l");
  CHECK(fs::equivalent(into + "/copy", into + "/usr/lib/libc.so"));
  CHECK(isWhiteout(into + "/usr/lib/old"));
  CHECK(attribute(into + "/usr/lib/sub", "trusted.overlay.opaque") == "y");
  CHECK(bench.errorOf(makeTar({{"loop", 'l', "loop"}, {"loop/x", 'f', ""}})) ==
        "its entry 'loop' goes through too many symbolic links");
}

TEST_CASE("layer: a file replaces a folder with all in it", "[image][root]") {
  Bench bench;
  auto into = bench.fresh();
  std::vector<TarEntry> entries = {{"kept", 'f', "k"}};
  for (std::string name : {"file", "link", "hard"}) {
    entries.push_back({name, 'd', "", 0755});
    entries.push_back({name + "/in/deep", 'f', "gone"});
    entries.push_back({name + "/.wh..wh..opq", 'f', ""});
  }
  entries.push_back({"file", 'f', "f"});
  entries.push_back({"link", 'l', "kept"});
  entries.push_back({"hard", 'h', "kept"});
  bench.unpack(makeTar(entries), into);
  CHECK(readFile(into + "/file") == "f");
  CHECK(fs::read_symlink(into + "/link") == "kept");
  CHECK(readFile(into + "/hard") == "k");
}

TEST_CASE("layer: a folder that is deleted and opaque at once", "[image][root]") {
  Bench bench;
  auto into = bench.fresh();
  bench.unpack(makeTar({{".wh.a", 'f', ""},
                        {"a/.wh..wh..opq", 'f', ""},
                        {".wh.b", 'f', ""},
                        {"b/.wh..wh..opq", 'f', ""},
                        {"b/new", 'f', "n"},
                        {".wh.c", 'f', ""},
                        {"c/.wh.old", 'f', ""}}),
               into);
  CHECK(isWhiteout(into + "/a"));
  CHECK(attribute(into + "/b", "trusted.overlay.opaque") == "y");
  CHECK(readFile(into + "/b/new") == "n");
  CHECK(attribute(into + "/c", "trusted.overlay.opaque") == "y");
}

// Gives the hard link `name` of a pax archive a content, which archive_write does not do.
std::string withContent(std::string tar, const std::string& name, const std::string& content) {
  constexpr size_t BLOCK = 512, SIZE = 124, SUM = 148, TYPE = 156;
  for (size_t at = 0; at + BLOCK <= tar.size(); at += BLOCK) {
    if (tar.compare(at, name.size() + 1, name.c_str(), name.size() + 1) != 0) continue;
    if (tar[at + TYPE] != '1') continue;
    char number[12];
    snprintf(number, sizeof(number), "%011zo", content.size());
    tar.replace(at + SIZE, sizeof(number), number, sizeof(number));
    tar.replace(at + SUM, 8, 8, ' ');
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; ++i) sum += static_cast<unsigned char>(tar[at + i]);
    snprintf(number, sizeof(number), "%06o", sum);
    tar.replace(at + SUM, 7, number, 7);
    auto padded = content + std::string((BLOCK - content.size() % BLOCK) % BLOCK, '\0');
    return tar.insert(at + BLOCK, padded);
  }
  return {};
}

TEST_CASE("layer: a hard link that brings its content along", "[image][root]") {
  Bench bench;
  auto tar = makeTar({{"file", 'f', "content", 0644, 0, {{"user.note", "so that it is pax"}}},
                      {"hard", 'h', "file"},
                      {"after", 'f', "a"}});
  auto into = bench.fresh();
  bench.unpack(withContent(tar, "hard", "content"), into);
  CHECK(readFile(into + "/file") == "content");
  CHECK(readFile(into + "/hard") == "content");
  CHECK(fs::equivalent(into + "/file", into + "/hard"));
  CHECK(readFile(into + "/after") == "a");
}

TEST_CASE("layer: what is too deep, too long or too much is refused", "[image][root]") {
  Bench bench;
  auto nested = [](int levels) {
    std::string name;
    for (int i = 0; i < levels; ++i) name += "d/";
    return name + "file";
  };
  auto into = bench.fresh();
  bench.unpack(makeTar({{nested(255), 'f', "x"}}), into);
  CHECK(readFile(into + "/" + nested(255)) == "x");
  auto tooDeep = [](const std::string& error) {
    INFO(error);
    CHECK(error.find("' is deeper than 256 folders") != std::string::npos);
  };
  tooDeep(bench.errorOf(makeTar({{nested(256), 'f', "x"}})));
  // A link makes a short name a deep one.
  tooDeep(bench.errorOf(makeTar({{nested(200), 'f', ""},
                                 {"link", 'l', nested(200).substr(0, 400)},
                                 {"link/" + nested(100), 'f', ""}})));
  std::string part(200, 'n'), name;
  while (name.size() < 4200) name += part + "/";
  for (auto& path : {name + "file", nested(40'000)}) {
    auto error = bench.errorOf(makeTar({{path, 'f', "x"}}));
    INFO(error);
    CHECK(error.find("' is longer than a path may be") != std::string::npos);
  }

  std::string tooMuch = "it needs more than 200000 bytes, the setting maxLayerBytes";
  auto small = makeTar({{"file", 'f', "x"}});
  CHECK(bench.errorOf(small + std::string(150'000, '\0'), 200'000) == "");
  CHECK(bench.errorOf(compressed(small + std::string(1 << 20, '\0'), "gzip"), 200'000) == tooMuch);
  std::vector<TarEntry> many;
  for (int i = 0; i < 50; ++i) many.push_back({"empty" + std::to_string(i), 'f', ""});
  CHECK(bench.errorOf(makeTar(many), 200'000) == tooMuch);
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
        "it needs more than 1000 bytes, the setting maxLayerBytes");
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
    "StopSignal":"SIGINT","Labels":{"k":"v"},"Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{}},
    "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1500000000,"Timeout":1,"StartPeriod":-1,"Retries":4}}})",
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
  auto health = config.getHealth();
  CHECK(health.getTest()[1] == "true");
  CHECK(health.getIntervalMs() == 1500);
  CHECK(health.getTimeoutMs() == 1);
  CHECK(health.getStartPeriodMs() == 0);
  CHECK(health.getStartIntervalMs() == 0);
  CHECK(health.getRetries() == 4);
}

}  // namespace
}  // namespace orch::image::oci::test
