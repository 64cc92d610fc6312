#include <catch2/catch.hpp>
#include <locale.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "orch/fail.h"
#include "store-fixture.h"
#include "test-images.h"
#include "unpack/digest.h"

namespace orch::image::oci::test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("import: an OCI layout, a folder or a tar, and its names", "[image][root]") {
  TestStore test("layout");
  writeLayout(test.sub("layout"), {imageOf("quay.io/a/b:1", "one"), imageOf("web:2", "two")});
  writeTarOf(test.sub("layout"), test.sub("layout.tar"));
  auto ids = test.import(test.sub("layout"));
  REQUIRE(ids.size() == 2);
  CHECK(test.import(test.sub("layout.tar")) == ids);
  CHECK(test.ensure("web:2", "t1") == ids[1]);
  CHECK(test.ensure("quay.io/a/b:1", "t1") == ids[0]);
  CHECK(test.ensure(ids[0], "t2") == ids[0]);
  auto layers = test.layersOf("web:2");
  REQUIRE(layers.size() == 1);
  CHECK(readFile(layers[0] + "/file") == "two");
  CHECK(test.eventsOf("image.imported") == 4);
  CHECK(filesIn(test.root() + "/tmp").empty());
  CHECK(test.errorOf([&] { test.import(test.sub("layout"), "x"); }) ==
        "cannot import '" + test.sub("layout") +
            "': it holds 2 images (quay.io/a/b:1, web:2), so that one name cannot be given to "
            "them; leave the name out");
}

TEST_CASE("import: a name is its bytes, whatever the letters are", "[image][root]") {
  const std::string composed = "\xc3\xa9", decomposed = "e\xcc\x81";
  TestStore test("letters");
  setlocale(LC_CTYPE, "C.UTF-8");  // so that the layer says that its names are UTF-8
  TestLayer layer({{composed, 'f', "one"},
                   {decomposed, 'f', "two"},
                   {"soft", 'l', decomposed},
                   {"hard", 'h', decomposed},
                   {"README", 'f', "large"},
                   {"readme", 'f', "small"}});
  setlocale(LC_CTYPE, "C");
  writeLayout(test.sub("layout"), {{"letters:1", {layer}}});
  test.import(test.sub("layout"));
  auto folder = test.layersOf("letters:1").at(0);
  CHECK(filesIn(folder) ==
        std::vector<std::string>{"README", decomposed, "hard", "readme", "soft", composed});
  CHECK(readFile(folder + "/" + composed) == "one");
  CHECK(readFile(folder + "/" + decomposed) == "two");
  CHECK(readFile(folder + "/soft") == "two");
  CHECK(fs::equivalent(folder + "/hard", folder + "/" + decomposed));
  CHECK(readFile(folder + "/README") == "large");
  CHECK(readFile(folder + "/readme") == "small");
}

// Hands out a file piece by piece; with `breaks`, fails after the first one.
class PieceSource final : public schema::ByteSource::Server {
 public:
  PieceSource(std::string content, bool breaks) : content(std::move(content)), breaks(breaks) {}
  kj::Promise<void> read(ReadContext context) override {
    constexpr size_t PIECE = 1000;
    if (breaks && at > 0) fail(kj::str("the client has gone"));
    auto part = content.substr(at, std::min<size_t>(PIECE, context.getParams().getMost()));
    at += part.size();
    context.getResults().setBytes(kj::StringPtr(part.c_str(), part.size()).asBytes());
    return kj::READY_NOW;
  }

 private:
  const std::string content;
  const bool breaks;
  size_t at = 0;
};

TEST_CASE("import: what comes from another host piece by piece", "[image][root]") {
  TestStore test("streamed");
  writeLayout(test.sub("layout"), {imageOf("web:1", "one")});
  writeTarOf(test.sub("layout"), test.sub("layout.tar"));
  auto content = readFile(test.sub("layout.tar"));
  auto stream = [&](bool breaks, kj::StringPtr reference) {
    auto request = test.service().importFromRequest();
    request.setSource(kj::heap<PieceSource>(content, breaks));
    request.setName("web.tar");
    request.setReference(reference);
    return request.send();
  };
  CHECK(test.errorOf([&] { stream(true, "").wait(test.io.waitScope); }) ==
        "cannot import 'web.tar': the client has gone");
  CHECK(filesIn(test.root() + "/tmp").empty());
  auto answer = stream(false, "mine:2").wait(test.io.waitScope);
  REQUIRE(answer.getImages().size() == 1);
  CHECK(test.ensure("mine:2", "t1") == test.import(test.sub("layout.tar"))[0]);
  CHECK(filesIn(test.root() + "/tmp").empty());
}

TEST_CASE("import: what docker saves", "[image][root]") {
  TestStore test("docker");
  TestImage image{"team/app:3", {TestLayer({{"a", 'f', "1"}}), TestLayer({{"b", 'f', "2"}})}};
  image.config = R"({"Cmd":["/a"],"Env":["X=1"]})";
  writeDockerArchive(test.sub("saved.tar"), {image});
  auto ids = test.import(test.sub("saved.tar"));
  REQUIRE(ids == std::vector<std::string>{sha256(image.configJson())});
  auto layers = test.layersOf("team/app:3");
  REQUIRE(layers.size() == 2);
  CHECK(readFile(layers[0] + "/a") == "1");
  CHECK(readFile(layers[1] + "/b") == "2");
  auto request = test.service().inspectRequest();
  request.setReference("team/app:3");
  auto answer = request.send().wait(test.io.waitScope);
  CHECK(answer.getConfigJson() == image.configJson().c_str());
  CHECK(answer.getImage().getConfig().getCommand()[0] == "/a");
  CHECK(answer.getImage().getSizeBytes() == 2);
  CHECK(answer.getImage().getCreatedAtNs() == 1'709'209'800'500'000'000);
  test.import(test.sub("saved.tar"), "other");
  CHECK(test.ensure("other:latest", "t1") == ids[0]);
  CHECK(test.ensure("team/app:3", "t1") == ids[0]);
}

TEST_CASE("import: a plain root file system, a folder or a tar", "[image][root]") {
  TestStore test("rootfs");
  fs::create_directories(test.sub("rootfs/bin"));
  writeFile(test.sub("rootfs/bin/sh"), "#!");
  chmod(test.sub("rootfs/bin/sh").c_str(), 0755);
  fs::create_hard_link(test.sub("rootfs/bin/sh"), test.sub("rootfs/bin/ash"));
  fs::create_symlink("bin", test.sub("rootfs/sbin"));
  REQUIRE(test.import(test.sub("rootfs"), "base").size() == 1);
  auto layers = test.layersOf("base");
  REQUIRE(layers.size() == 1);
  CHECK(readFile(layers[0] + "/bin/ash") == "#!");
  CHECK(fs::hard_link_count(layers[0] + "/bin/sh") == 2);
  CHECK(fs::read_symlink(layers[0] + "/sbin") == "bin");

  auto tar = makeTar({{"etc/os-release", 'f', "NAME=x"}});
  for (auto* filter : {"", "gzip", "zstd", "xz"}) {
    auto path = test.sub(std::string("root.tar") + filter);
    writeFile(path, compressed(tar, filter));
    REQUIRE(test.import(path, "tarred").size() == 1);
    CHECK(readFile(test.layersOf("tarred")[0] + "/etc/os-release") == "NAME=x");
  }
  CHECK(test.import(test.sub("root.tar")).size() == 1);  // without a name
}

TEST_CASE("import: what is no image is refused by name", "[image][root]") {
  TestStore test("bad");
  writeFile(test.sub("text"), "this is no archive at all");
  auto accepted =
      "it is no archive; accepted are a docker archive, an OCI layout (folder or tar) and a root "
      "file system (folder or tar, also gzip, zstd or xz)";
  CHECK(test.errorOf([&] { test.import(test.sub("text"), "x"); }) ==
        "cannot import '" + test.sub("text") + "': " + accepted);
  CHECK(test.errorOf([&] { test.import("/does/not/exist", "x"); }) ==
        "cannot import '/does/not/exist': No such file or directory");
  CHECK(test.errorOf([&] { test.import("relative", "x"); }) ==
        "cannot import 'relative': give the absolute path of a file or folder");
  CHECK(test.errorOf([&] { test.import(test.path(), "x"); }) ==
        "cannot import '" + test.path() + "': it contains the images' own folder '" + test.root() +
            "'");
  auto arm = imageOf("arm:1", "x");
  arm.architecture = "arm64";
  writeLayout(test.sub("arm"), {arm});
  CHECK(test.errorOf([&] { test.import(test.sub("arm")); }) ==
        "cannot import '" + test.sub("arm") +
            "': image 'arm:1' is for linux/arm64 and this node is linux/amd64");
  // A link in a stranger's archive that would have us read a file of the host.
  writeFile(test.sub("evil.tar"),
            makeTar({{"c.json", 'l', "/etc/passwd"},
                     {"manifest.json", 'f', R"([{"Config":"c.json","Layers":[]}])"}}));
  CHECK(test.errorOf([&] { test.import(test.sub("evil.tar")); }) ==
        "cannot import '" + test.sub("evil.tar") +
            "': configuration 'c.json' is a link that leads out of it");
  checkNothingLeft(test);
}

TEST_CASE("import: a damaged blob is refused by name and nothing stays", "[image][root]") {
  TestStore test("damaged");
  TestImage image{"app:1", {TestLayer({{"a", 'f', "1"}}, "gzip"), TestLayer({{"b", 'f', "2"}})}};
  auto layout = test.sub("layout");
  for (auto& digest : {image.layers[1].digest, sha256(image.configJson())}) {
    fs::remove_all(layout);
    writeLayout(layout, {image});
    auto path = layout + "/blobs/sha256/" + digest.substr(7);
    auto bytes = readFile(path);
    bytes[bytes.size() / 2] ^= 1;
    writeFile(path, bytes);
    auto error = test.errorOf([&] { test.import(layout); });
    INFO(error);
    CHECK(error.find(digest + (digest == image.layers[1].digest ? " of image 'app:1'" : "") +
                     " is damaged: its content is sha256:") != std::string::npos);
    checkNothingLeft(test);
  }
  // The blob is what the manifest says, and unpacks to something else than the configuration says.
  image.layers[1].diffId = "sha256:" + HEX;
  fs::remove_all(layout);
  writeLayout(layout, {image});
  CHECK(test.errorOf([&] { test.import(layout); }).find("instead of sha256:" + HEX) !=
        std::string::npos);
  fs::remove(layout + "/blobs/sha256/" + image.layers[0].digest.substr(7));
  CHECK(test.errorOf([&] { test.import(layout); }) == "cannot import '" + layout + "': layer " +
                                                          image.layers[0].digest +
                                                          " of image 'app:1' is missing");
  checkNothingLeft(test);
}

TEST_CASE("import: an image that is listed once per name takes another name", "[image][root]") {
  TestStore test("tags");
  auto one = imageOf("app:1", "a"), two = one;
  two.name = "app:2";
  writeLayout(test.sub("layout"), {one, two});
  writeDockerArchive(test.sub("saved.tar"), {one, two});
  for (auto* source : {"layout", "saved.tar"}) {
    auto ids = test.import(test.sub(source), std::string("mine:") + source);
    CHECK(ids == std::vector<std::string>{sha256(one.configJson())});
    CHECK(test.ensure(std::string("mine:") + source, "t1") == ids[0]);
  }
  CHECK(test.errorOf([&] { test.layersOf("app:1"); }) != "");
  CHECK(test.import(test.sub("layout")).size() == 1);
  CHECK(test.layersOf("app:1") == test.layersOf("app:2"));
}

TEST_CASE("import: names that cannot be names keep no image out", "[image][root]") {
  TestStore test("names");
  auto image = imageOf("Not/A:Name", "a");
  writeLayout(test.sub("layout"), {image});
  writeDockerArchive(test.sub("saved.tar"), {image});
  for (auto* source : {"layout", "saved.tar"}) {
    CHECK(test.import(test.sub(source)).size() == 1);
    CHECK(test.import(test.sub(source), "good:1").size() == 1);
    CHECK(test.ensure("good:1", "t1") == sha256(image.configJson()));
  }
}

TEST_CASE("import: of an archive only what its images need is read, and no more than allowed",
          "[image][root]") {
  TestStore test("archive");
  test.settings.maxLayerBytes = 500'000;
  test.restart();
  std::string large(1 << 20, 'x');
  auto layer = TestLayer({{"a", 'f', "1"}});
  TestImage image{"app:1", {layer, layer}};
  auto config = image.configJson();
  std::vector<TarEntry> entries = {{"config.json", 'f', config},
                                   {"first/layer.tar", 'f', layer.blob},
                                   {"second/layer.tar", 'l', "../first/layer.tar"},
                                   {"beside", 'f', large},
                                   {"manifest.json", 'f',
                                    R"([{"Config":"config.json","RepoTags":["app:1"],)"
                                    R"("Layers":["first/layer.tar","./second/layer.tar"]}])"}};
  writeFile(test.sub("good.tar"), makeTar(entries));
  CHECK(test.import(test.sub("good.tar")) == std::vector<std::string>{sha256(config)});
  entries[1].content += std::string(1 << 20, '\0');
  writeFile(test.sub("large.tar"), makeTar(entries));
  auto tooMuch = "': its images have more than 500000 bytes, the setting maxLayerBytes";
  CHECK(test.errorOf([&] { test.import(test.sub("large.tar")); }) ==
        "cannot import '" + test.sub("large.tar") + tooMuch);
  writeLayout(test.sub("layout"), {{"app:2", {TestLayer({{"a", 'f', large}})}}});
  writeTarOf(test.sub("layout"), test.sub("layout.tar"));
  CHECK(test.errorOf([&] { test.import(test.sub("layout.tar")); }) ==
        "cannot import '" + test.sub("layout.tar") + tooMuch);
}

TEST_CASE("import: one that takes too long is given up", "[image][root]") {
  TestStore test("slow");
  writeLayout(test.sub("layout"), {imageOf("a:1", "a")});
  test.settings.unpackTimeout = 0 * kj::SECONDS;
  test.restart();
  CHECK(test.errorOf([&] { test.import(test.sub("layout")); }) ==
        "cannot import '" + test.sub("layout") +
            "': it is not done after 0 s, the setting unpackTimeoutSeconds");
  checkNothingLeft(test);
}

TEST_CASE("import: a hundred layers, whose folders fit into one mount", "[image][root]") {
  TestStore test("hundred");
  TestImage image{"deep:1", {}};
  for (int i = 0; i < 100; ++i) {
    auto name = "file" + std::to_string(i);
    image.layers.emplace_back(std::vector<TarEntry>{{name, 'f', name}}, i % 2 ? "gzip" : "zstd");
  }
  image.layers.push_back(image.layers[0]);  // once more on top: overlayfs takes a folder once
  writeLayout(test.sub("layout"), {image});
  test.import(test.sub("layout"));
  auto layers = test.layersOf("deep:1");
  REQUIRE(layers.size() == 100);
  CHECK(fs::exists(layers[0] + "/file1"));
  CHECK(fs::exists(layers[99] + "/file0"));
  std::string lower;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    lower += (lower.empty() ? "" : ":") + fs::path(*layer).filename().string();
  }
  auto merged = test.sub("merged");
  fs::create_directories(merged);
  auto before = fs::current_path();
  fs::current_path(test.root() + "/layers");
  int mounted =
      mount("overlay", merged.c_str(), "overlay", MS_RDONLY, ("lowerdir=" + lower).c_str());
  fs::current_path(before);
  REQUIRE(mounted == 0);
  auto files = filesIn(merged);
  REQUIRE(umount(merged.c_str()) == 0);
  CHECK(files.size() == 100);
}

}  // namespace
}  // namespace orch::image::oci::test
