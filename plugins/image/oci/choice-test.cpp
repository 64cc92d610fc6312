// What of a source is an image for this node, and what is left aside.
#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <filesystem>

#include "store-fixture.h"
#include "test-images.h"
#include "unpack/digest.h"
#include "unpack/plan.h"

namespace orch::image::oci::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* OCI_INDEX = "application/vnd.oci.image.index.v1+json";
constexpr const char* OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
constexpr const char* OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";

// A layout that is written part by part.
class Layout final {
 public:
  explicit Layout(std::string folder) : folder(kj::mv(folder)) {}
  // The descriptor; `more` are further members of it.
  std::string blob(const std::string& bytes, const std::string& type,
                   const std::string& more = "") const {
    auto digest = sha256(bytes);
    writeFile(folder + "/blobs/sha256/" + digest.substr(7), bytes);
    return R"({"mediaType":")" + type + R"(","digest":")" + digest + R"(","size":)" +
           std::to_string(bytes.size()) + (more.empty() ? "" : "," + more) + "}";
  }
  std::string manifest(const std::string& config, const std::string& layer,
                       const std::string& more = "") const {
    return R"({"schemaVersion":2,"config":)" + config + R"(,"layers":[)" + layer + "]" +
           (more.empty() ? "" : "," + more) + "}";
  }
  std::string image(const TestImage& image) const {
    auto& layer = image.layers[0];
    return manifest(blob(image.configJson(), OCI_CONFIG), blob(layer.blob, OCI_LAYER));
  }
  static std::string list(const std::vector<std::string>& entries) {
    std::string text;
    for (auto& entry : entries) text += (text.empty() ? "" : ",") + entry;
    return R"({"schemaVersion":2,"manifests":[)" + text + "]}";
  }
  void write(const std::vector<std::string>& entries) const {
    writeFile(folder + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    writeFile(folder + "/index.json", list(entries));
  }

 private:
  const std::string folder;
};

std::string named(const std::string& name) {
  return R"("annotations":{"org.opencontainers.image.ref.name":")" + name + "\"}";
}
std::string platform(const std::string& architecture, const std::string& variant) {
  return R"("platform":{"os":"linux","architecture":")" + architecture + R"(","variant":")" +
         variant + "\"}";
}

std::vector<std::string> names(TestStore& test) {
  std::vector<std::string> all;
  auto answer = test.service().listRequest().send().wait(test.io.waitScope);
  for (auto image : answer.getImages()) {
    for (auto name : image.getReferences()) all.push_back(name.cStr());
  }
  return all;
}

TEST_CASE("import: what is no image beside an image is left aside", "[image][root]") {
  TestStore test("beside");
  auto image = imageOf("", "x");
  std::string note = R"({"critical":{}})", empty = "{}";
  for (std::string kind : {"signature", "artifact", "untyped", "attestation", "index"}) {
    INFO(kind);
    Layout layout(test.sub(kind));
    auto main = layout.blob(layout.image(image), OCI_MANIFEST, named("app:" + kind));
    std::string other;
    if (kind == "signature") {
      auto config = layout.blob(R"({"architecture":"","os":"","config":{}})", OCI_CONFIG);
      auto layer = layout.blob(note, "application/vnd.dev.cosign.simplesigning.v1+json");
      other = layout.blob(layout.manifest(config, layer), OCI_MANIFEST);
    } else if (kind == "attestation") {
      auto layer = layout.blob(note, "application/vnd.in-toto+json");
      auto text = layout.manifest(layout.blob(image.configJson(), OCI_CONFIG), layer);
      other = layout.blob(text, OCI_MANIFEST, named("app:" + kind + "-proof"));
    } else {
      auto config = layout.blob(empty, kind == "untyped" ? "application/vnd.acme.thing+json"
                                                         : "application/vnd.oci.empty.v1+json");
      auto layer = layout.blob(note, "application/spdx+json");
      auto more = kind == "artifact" ? R"("artifactType":"application/spdx+json")" : "";
      other = layout.blob(layout.manifest(config, layer, more), OCI_MANIFEST);
      if (kind == "index") other = layout.blob(Layout::list({other}), OCI_INDEX);
    }
    layout.write({other, main});
    CHECK(test.import(test.sub(kind)) == std::vector<std::string>{sha256(image.configJson())});
    layout.write({other});
    auto error = test.errorOf([&] { test.import(test.sub(kind)); });
    INFO(error);
    CHECK(error.find("it holds no image for linux/amd64") != std::string::npos);
    CHECK(error.find("only something else: application/") != std::string::npos);
  }
  CHECK(names(test).size() == 5);
}

TEST_CASE("pull: of a list the registry has, the best that the processor has", "[image][root]") {
  TestStore test("list");
  TestRegistry registry(test);
  Layout layout(test.sub("list"));
  auto above = imageOf("", "above"), plain = imageOf("", "plain");
  auto entry = [&](const TestImage& image, const std::string& variant) {
    return layout.blob(layout.image(image), OCI_MANIFEST, platform("amd64", variant));
  };
  auto list = Layout::list({entry(above, "v9"), entry(plain, "")});
  layout.write({layout.blob(list, OCI_INDEX)});
  registry.push(test.sub("list"), "app:1", "oci", true);
  auto name = registry.address + "/app:1";
  CHECK(test.ensure(name, "t1") == sha256(plain.configJson()));
  // Pinned by the digest of the list: one digest for nodes of all processors.
  CHECK(test.ensure(name + "@" + sha256(list), "t2") == sha256(plain.configJson()));
  CHECK(test.ensure(name + "@" + sha256(list), "t3") == sha256(plain.configJson()));
  CHECK(test.eventsOf("image.pulled") == 2);
  layout.write({layout.blob(Layout::list({entry(above, "v9")}), OCI_INDEX)});
  registry.push(test.sub("list"), "app:2", "oci", true);
  auto error = test.errorOf([&] { test.ensure(registry.address + "/app:2", "t4"); });
  CHECK_THAT(error, Catch::Contains("it has no image for linux/amd64"));
}

std::string chosen(const std::vector<std::pair<std::string, std::string>>& platforms, Node node) {
  std::vector<std::string> entries;
  for (auto& [architecture, variant] : platforms) {
    entries.push_back(R"({"digest":")" + sha256(architecture + variant) + R"(",)" +
                      platform(architecture, variant) + "}");
  }
  auto digest = chooseManifest(Layout::list(entries), node);
  for (auto& [architecture, variant] : platforms) {
    if (sha256(architecture + variant) == digest) return architecture + "/" + variant;
  }
  return digest;
}

TEST_CASE("platform: of a list the best that the processor has, never one above it", "[image]") {
  Node second{"amd64", 2}, third{"amd64", 3}, arm{"arm", 7}, arm64{"arm64", 8};
  CHECK(chosen({{"amd64", "v9"}, {"amd64", ""}}, second) == "amd64/");
  CHECK(chosen({{"amd64", ""}, {"amd64", "v2"}}, second) == "amd64/v2");
  CHECK(chosen({{"amd64", "v4"}, {"amd64", "v1"}, {"amd64", "v3"}}, second) == "amd64/v1");
  CHECK(chosen({{"amd64", "v4"}, {"amd64", "v1"}, {"amd64", "v3"}}, third) == "amd64/v3");
  CHECK(chosen({{"amd64", "odd"}, {"x86_64", ""}}, second) == "x86_64/");
  CHECK(chosen({{"arm", "v5"}, {"arm", "v8"}, {"armhf", ""}, {"armel", ""}}, arm) == "armhf/");
  CHECK(chosen({{"arm", "v7"}, {"arm", "v6"}}, {"arm", 6}) == "arm/v6");
  CHECK(chosen({{"arm", "v7"}, {"aarch64", "8"}}, arm64) == "aarch64/8");
  CHECK(chosen({{"unknown", ""}, {"arm64", "v8"}}, arm64) == "arm64/v8");
  CHECK_THROWS(chosen({{"amd64", "v3"}, {"arm64", ""}, {"386", ""}}, second));
  CHECK(chooseManifest(R"({"config":{}})", second) == "");
  CHECK(thisLevel("amd64") >= 1);
  CHECK(thisLevel("arm64") == 8);
}

TEST_CASE("import: variants of one image, in a list and side by side under one name",
          "[image][root]") {
  TestStore test("variants");
  auto plain = imageOf("", "plain"), far = imageOf("", "far");
  for (bool list : {true, false}) {
    INFO(list);
    Layout layout(test.sub(list ? "list" : "beside"));
    auto note = list ? std::string() : "," + named("app:1");
    auto one = layout.blob(layout.image(far), OCI_MANIFEST, platform("amd64", "v9") + note);
    auto two = layout.blob(layout.image(plain), OCI_MANIFEST, platform("x86_64", "") + note);
    if (list) {
      layout.write({layout.blob(Layout::list({one, two}), OCI_INDEX, named("app:1"))});
    } else {
      layout.write({two, one});
    }
    test.import(test.sub(list ? "list" : "beside"));
    CHECK(test.ensure("app:1", "t1") == sha256(plain.configJson()));
    CHECK(test.service().listRequest().send().wait(test.io.waitScope).getImages().size() == 1);
  }
  // A list that does not say what its entries are for: their configurations do.
  auto arm = imageOf("", "arm");
  arm.architecture = "aarch64";
  Layout layout(test.sub("silent"));
  layout.write({layout.blob(Layout::list({layout.blob(layout.image(arm), OCI_MANIFEST),
                                          layout.blob(layout.image(plain), OCI_MANIFEST)}),
                            OCI_INDEX, named("app:2"))});
  test.import(test.sub("silent"));
  CHECK(test.ensure("app:2", "t1") == sha256(plain.configJson()));
}

TEST_CASE("import: an architecture by another of its names", "[image][root]") {
  TestStore test("aliases");
  auto image = imageOf("app:1", "x");
  image.architecture = "x86_64";
  writeLayout(test.sub("layout"), {image});
  writeDockerArchive(test.sub("saved.tar"), {image});
  for (auto* source : {"layout", "saved.tar"}) {
    CHECK(test.import(test.sub(source)) == std::vector<std::string>{sha256(image.configJson())});
  }
  auto list = test.service().listRequest().send().wait(test.io.waitScope);
  CHECK(list.getImages()[0].getArchitecture() == "amd64");
}

TEST_CASE("import: links within the tar of a layout", "[image][root]") {
  TestStore test("links");
  auto image = imageOf("app:1", "x");
  writeLayout(test.sub("layout"), {image});
  auto blobs = filesIn(test.sub("layout/blobs/sha256"));
  auto document = [&](const std::string& name) { return readFile(test.sub("layout/" + name)); };
  for (std::string way : {"symbolic", "hard", "chain", "folder", "documents"}) {
    INFO(way);
    std::vector<TarEntry> entries = {{"./beside", 'f', std::string(1 << 20, 'x')}};
    bool moved = way == "documents";
    if (moved) entries.push_back({"./index.json", 'l', "meta/index.json"});
    entries.push_back({moved ? "./meta/index.json" : "./index.json", 'f', document("index.json")});
    entries.push_back({"./oci-layout", 'f', document("oci-layout")});
    if (way == "folder") entries.push_back({"./blobs", 'l', "store"});
    int i = 0;
    for (auto& blob : blobs) {
      auto part = "part" + std::to_string(i++), bytes = document("blobs/sha256/" + blob);
      if (way == "folder") {
        entries.push_back({"./store/sha256/" + blob, 'f', bytes});
        continue;
      }
      entries.push_back({"./blobs/" + part, 'f', bytes});
      if (way == "chain") entries.push_back({"./blobs/next" + part, 'l', part});
      auto target = way == "hard"    ? "./blobs/" + part
                    : way == "chain" ? "../../blobs/next" + part
                                     : "../" + part;
      entries.push_back({"./blobs/sha256/" + blob, way == "hard" ? 'h' : 'l', target});
    }
    test.settings.maxLayerBytes = 500'000;  // what is beside is not needed
    test.restart();
    writeFile(test.sub(way + ".tar"), makeTar(entries));
    CHECK(test.import(test.sub(way + ".tar"), "app:" + way) ==
          std::vector<std::string>{sha256(image.configJson())});
  }
  std::vector<TarEntry> round = {{"index.json", 'f', document("index.json")},
                                 {"oci-layout", 'f', document("oci-layout")},
                                 {"blobs/sha256/" + blobs[0], 'l', blobs[1]},
                                 {"blobs/sha256/" + blobs[1], 'l', blobs[0]}};
  writeFile(test.sub("round.tar"), makeTar(round));
  CHECK(test.errorOf([&] { test.import(test.sub("round.tar")); }) != "");
}

TEST_CASE("import: a layout without one of its documents is no root file system", "[image][root]") {
  TestStore test("half");
  for (std::string lost : {"oci-layout", "index.json"}) {
    writeLayout(test.sub(lost), {imageOf("app:1", "x")});
    fs::remove(test.sub(lost) + "/" + lost);
    writeTarOf(test.sub(lost), test.sub(lost + ".tar"));
    for (auto& source : {test.sub(lost), test.sub(lost + ".tar")}) {
      auto error = test.errorOf([&] { test.import(source, "app:1"); });
      INFO(error);
      CHECK(error.find("it is an OCI layout without its file '" + lost + "'") != std::string::npos);
    }
  }
  checkNothingLeft(test);
}

TEST_CASE("import: the answer has the names that came, not those that were there",
          "[image][root]") {
  TestStore test("came");
  writeLayout(test.sub("layout"), {imageOf("app:1", "x")});
  test.import(test.sub("layout"));
  auto request = test.service().importRequest();
  request.setPath(test.sub("layout"));
  request.setReference("app:2");
  auto answer = request.send().wait(test.io.waitScope);
  auto came = answer.getImages()[0].getReferences();
  REQUIRE(came.size() == 1);
  CHECK(came[0] == "app:2");
  CHECK(names(test).size() == 2);
}

TEST_CASE("import: volumes are absolute paths, however they are written", "[image][root]") {
  TestStore test("volumes");
  auto image = imageOf("app:1", "x");
  image.config = R"({"Entrypoint":[""],"Cmd":["echo"],"Volumes":{"./data":{},"data/":{},"log":{},)"
                 R"("/a/../data":{},"//run//x/.":{},"/../etc/y":{}}})";
  writeLayout(test.sub("layout"), {image});
  test.import(test.sub("layout"));
  auto request = test.service().inspectRequest();
  request.setReference("app:1");
  auto answer = request.send().wait(test.io.waitScope);
  auto config = answer.getImage().getConfig();
  std::vector<std::string> volumes;
  for (auto volume : config.getVolumes()) volumes.push_back(volume.cStr());
  CHECK(volumes == std::vector<std::string>{"/data", "/etc/y", "/log", "/run/x"});
  CHECK(config.getEntrypoint().size() == 0);
  CHECK(config.getCommand()[0] == "echo");
  for (auto* all : {"/", ".", "", "data/.."}) {
    image.config = R"({"Volumes":{")" + std::string(all) + "\":{}}}";
    fs::remove_all(test.sub("layout"));
    writeLayout(test.sub("layout"), {image});
    auto error = test.errorOf([&] { test.import(test.sub("layout")); });
    INFO(error);
    CHECK(error.find("has a volume '" + std::string(all) + "'") != std::string::npos);
  }
}

std::string modeOf(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) < 0) return "none";
  char text[64];
  snprintf(text, sizeof(text), "%o %u", info.st_mode & 07777u, info.st_uid);
  return text;
}

TEST_CASE("import: folders that a layer does not name keep mode and owner", "[image][root]") {
  TestStore test("implied");
  TestLayer base({{"srv", 'd', "", 02775, 10},
                  {"srv/deep", 'd', "", 0700, 11},
                  {"tmp", 'd', "", 01777},
                  {"gone", 'd', "", 0700, 12},
                  {"emptied", 'd', "", 0700, 13},
                  {"emptied/below", 'd', "", 0700, 13},
                  {"again", 'd', "", 0700, 14},
                  {"later", 'd', "", 0700, 15},
                  {"hidden", 'd', "", 0700, 16},
                  {"plain", 'd', "", 0755}});
  TestLayer middle({{"srv/deep/a", 'f', "1"},
                    {"tmp/.wh.b", 'f', ""},
                    {".wh.gone", 'f', ""},
                    {"gone/new", 'f', "1"},
                    {"emptied/.wh..wh..opq", 'f', ""},
                    {"emptied/below/x", 'f', "1"},
                    {"again/x", 'f', "1"},
                    {"again", 'd', "", 0711, 24},
                    {"later/x", 'f', "1"},
                    {"hidden/x", 'f', "1"},
                    {"plain/x", 'f', "1"}});
  TestLayer top({{"srv/deep/b", 'f', "2"}, {"later", 'd', "", 0750, 25}, {".wh.hidden", 'f', ""}});
  writeLayout(test.sub("layout"), {{"app:1", {base, middle, top}}, {"app:2", {middle}}});
  test.import(test.sub("layout"));
  auto shown = [&](const std::string& path) {
    auto layers = test.layersOf("app:1");
    for (size_t i = layers.size(); i-- > 0;) {
      if (fs::exists(fs::symlink_status(layers[i] + "/" + path))) {
        return modeOf(layers[i] + "/" + path);
      }
    }
    return std::string("none");
  };
  CHECK(test.layersOf("app:1").size() == 4);
  CHECK(shown("srv") == "2775 10");
  CHECK(shown("srv/deep") == "700 11");
  CHECK(shown("tmp") == "1777 0");
  CHECK(shown("gone") == "755 0");           // a new one
  CHECK(shown("emptied") == "700 13");       // itself it stays
  CHECK(shown("emptied/below") == "755 0");  // a new one
  CHECK(shown("again") == "711 24");         // named after all
  CHECK(shown("later") == "750 25");
  CHECK(shown("plain") == "755 0");
  auto extra = test.layersOf("app:1")[3];
  CHECK(filesIn(extra) == std::vector<std::string>{"emptied", "srv", "tmp"});
  CHECK(test.layersOf("app:2").size() == 1);  // nothing below: nothing to keep
  CHECK(test.import(test.sub("layout")).size() == 2);
  CHECK(test.layersOf("app:1")[3] == extra);
}

}  // namespace
}  // namespace orch::image::oci::test
