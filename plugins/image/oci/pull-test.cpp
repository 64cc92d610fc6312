#include <catch2/catch.hpp>
#include <kj/common.h>
#include <stdlib.h>

#include <filesystem>

#include "store-fixture.h"
#include "test-images.h"
#include "unpack/digest.h"

namespace orch::image::oci::test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("pull: from a registry, with the layers that are missing only", "[image][root]") {
  TestStore test("pull");
  TestRegistry registry(test);
  auto base = TestLayer({{"base", 'f', "b"}}, "gzip");
  TestImage first{"", {base, TestLayer({{"one", 'f', "1"}}, "zstd")}};
  TestImage second{"", {base, TestLayer({{"two", 'f', "2"}}, "gzip")}};
  writeLayout(test.sub("first"), {first});
  writeLayout(test.sub("second"), {second});
  registry.push(test.sub("first"), "team/app:1");
  registry.push(test.sub("second"), "team/app:2");
  auto name = registry.address + "/team/app:";
  CHECK(test.ensure(name + "1", "t1") == sha256(first.configJson()));
  CHECK(test.layersOf(name + "1").size() == 2);
  CHECK(readFile(test.layersOf(name + "1")[1] + "/one") == "1");

  // The registry loses the common layer: the second image needs only its own.
  fs::remove_all(test.sub("registry/docker/registry/v2/blobs/sha256/") + base.digest.substr(7, 2) +
                 "/" + base.digest.substr(7));
  CHECK(test.ensure(name + "2", "t1") == sha256(second.configJson()));
  CHECK(readFile(test.layersOf(name + "2")[0] + "/base") == "b");
  CHECK(test.eventsOf("image.pulled") == 2);
  CHECK(test.ensure(name + "2", "t2") == sha256(second.configJson()));
  CHECK(test.eventsOf("image.pulled") == 2);
  auto error = test.errorOf([&] { test.ensure(name + "3", "t1"); });
  INFO(error);
  CHECK(error.find("cannot pull image '" + name + "3': ") == 0);
  CHECK(error.find("manifest unknown") != std::string::npos);
  CHECK(error.find('\n') == std::string::npos);
  CHECK(filesIn(test.root() + "/tmp").empty());
}

TEST_CASE("pull: a registry that asks for a login gets the one for it", "[image][root]") {
  TestStore test("login");
  // bcrypt of sesame-4711
  TestRegistry registry(test, "ann:$2b$04$abcdefghijklmnopqrstuu6sY3P5qG63S2M1n3TdY98AgJRZ8znRq\n");
  registry.login = "ann:sesame-4711";
  auto image = imageOf("", "content");
  writeLayout(test.sub("layout"), {image});
  registry.push(test.sub("layout"), "team/app:1");
  auto name = registry.address + "/team/app:1";
  auto ask = [&](auto request, const std::string& place, const char* password) {
    request.setReference(name);
    auto login = request.initLogin();
    login.setRegistry(place);
    login.setUser("ann");
    login.setPassword(password);
    return request.send().wait(test.io.waitScope);
  };
  auto pullError = [&](const std::string& place, const char* password) {
    return test.errorOf([&] { ask(test.service().pullRequest(), place, password); });
  };
  for (auto& error :
       {test.errorOf([&] { test.ensure(name, "t1"); }), pullError(registry.address, "wrong"),
        pullError("docker.io", "sesame-4711")}) {
    INFO(error);
    CHECK((error.find("unauthorized") != std::string::npos ||
           error.find("authentication required") != std::string::npos));
  }
  auto digest = ask(test.service().resolveRequest(), registry.address, "sesame-4711");
  CHECK(isDigest(digest.getDigest().cStr()));
  auto pulled = ask(test.service().pullRequest(), registry.address, "sesame-4711");
  CHECK(pulled.getImage().getId() == sha256(image.configJson()).c_str());
  CHECK(filesIn(test.root() + "/tmp").empty());
}

TEST_CASE("pull: again after a layer's folder was lost, without a restart", "[image][root]") {
  TestStore test("lost");
  TestRegistry registry(test);
  auto image = imageOf("", "content");
  writeLayout(test.sub("layout"), {image});
  registry.push(test.sub("layout"), "app:1");
  auto name = registry.address + "/app:1";
  auto id = test.ensure(name, "t1");
  fs::remove_all(test.layersOf(name)[0]);
  auto request = test.service().pullRequest();
  request.setReference(name);
  CHECK(request.send().wait(test.io.waitScope).getImage().getId() == id.c_str());
  CHECK(readFile(test.layersOf(name)[0] + "/file") == "content");
}

TEST_CASE("pull: an image of docker's schema has the digest that its registry knows",
          "[image][root]") {
  TestStore test("schema");
  TestRegistry registry(test);
  auto image = imageOf("", "content");
  writeLayout(test.sub("layout"), {image});
  registry.push(test.sub("layout"), "app:1", "v2s2");
  auto name = registry.address + "/app";
  auto id = test.ensure(name + ":1", "t1");
  auto revisions =
      filesIn(test.sub("registry/docker/registry/v2/repositories/app/_manifests/revisions/sha256"));
  REQUIRE(revisions.size() == 1);
  auto digest = "sha256:" + revisions[0];
  auto request = test.service().inspectRequest();
  request.setReference(name + ":1");
  auto info = request.send().wait(test.io.waitScope);
  CHECK(info.getImage().getDigest() == digest.c_str());
  CHECK(info.getImage().getHolders()[0] == "t1");
  CHECK(test.ensure(name + "@" + digest, "t2") == id);
  CHECK(test.eventsOf("image.pulled") == 1);
  test.restart();
  CHECK(test.ensure(digest, "t3") == id);
  // The manifest as it is here is kept, under its own digest, which is good for finding it too.
  auto blobs = filesIn(test.root() + "/blobs");
  REQUIRE(blobs.size() == 2);
  for (auto& blob : blobs) CHECK(test.ensure("sha256:" + blob, "t4") == id);
  CHECK(test.eventsOf("image.pulled") == 1);
}

// skopeo leaves it out of what it writes.
TEST_CASE("pull: an image has its health check, in docker's schema and in OCI's", "[image][root]") {
  TestStore test("health");
  TestRegistry registry(test);
  auto image = imageOf("app:1", "content");
  image.config = R"({"Healthcheck":{"Test":["CMD","/check"],"Interval":2000000000}})";
  writeLayout(test.sub("layout"), {image});
  writeDockerArchive(test.sub("saved.tar"), {image});
  registry.push(test.sub("layout"), "oci:1");
  registry.push(test.sub("saved.tar"), "docker:1", "v2s2");
  for (auto name : {"/oci:1", "/docker:1"}) {
    CAPTURE(name);
    test.ensure(registry.address + name, "t1");
    auto request = test.service().inspectRequest();
    request.setReference(registry.address + name);
    auto info = request.send().wait(test.io.waitScope);
    auto health = info.getImage().getConfig().getHealth();
    REQUIRE(health.getTest().size() == 2);
    CHECK(health.getTest()[1] == "/check");
    CHECK(health.getIntervalMs() == 2000);
  }
}

std::string resolved(TestStore& test, const std::string& name) {
  auto request = test.service().resolveRequest();
  request.setReference(name);
  return request.send().wait(test.io.waitScope).getDigest().cStr();
}

TEST_CASE("resolve: what a tag means now, and what it meant stays to be had", "[image][root]") {
  TestStore test("resolve");
  TestRegistry registry(test);
  auto one = imageOf("", "one"), two = imageOf("", "two");
  writeLayout(test.sub("one"), {one});
  writeLayout(test.sub("two"), {two});
  auto name = registry.address + "/app";
  registry.push(test.sub("one"), "app:1");
  auto first = resolved(test, name + ":1");
  CHECK(test.eventsOf("image.pulled") == 0);
  CHECK(test.ensure(name + "@" + first, "t1") == sha256(one.configJson()));
  CHECK(test.ensure(name + ":1", "t1") == sha256(one.configJson()));
  registry.push(test.sub("two"), "app:1");
  auto second = resolved(test, name + ":1");
  CHECK(second != first);
  CHECK(resolved(test, name + ":1@" + first) == first);
  auto pull = test.service().pullRequest();
  pull.setReference(name + ":1");
  pull.send().wait(test.io.waitScope);
  CHECK(test.errorOf([&] { resolved(test, name + ":9"); })
            .find("cannot resolve image '" + name + ":9': ") == 0);
  // The tag has moved; the one that was pinned is still here, and found without the registry.
  fs::remove_all(test.sub("registry/docker/registry/v2"));
  CHECK(test.ensure(name + "@" + first, "t2") == sha256(one.configJson()));
  CHECK(test.ensure(name + "@" + second, "t3") == sha256(two.configJson()));
  CHECK(filesIn(test.root() + "/tmp").empty());
}

TEST_CASE("resolve: an imported name is asked of nobody", "[image][root]") {
  TestStore test("local");
  auto one = imageOf("127.0.0.1:1/app:1", "one"), two = imageOf("127.0.0.1:1/app:1", "two");
  writeLayout(test.sub("one"), {one});
  writeLayout(test.sub("two"), {two});
  test.import(test.sub("one"));
  auto first = resolved(test, "127.0.0.1:1/app:1");
  test.import(test.sub("two"));
  test.restart();
  auto second = resolved(test, "127.0.0.1:1/app:1");
  CHECK(first != second);
  CHECK(test.ensure("127.0.0.1:1/app@" + first, "t1") == sha256(one.configJson()));
  CHECK(test.ensure("127.0.0.1:1/app@" + second, "t1") == sha256(two.configJson()));
}

TEST_CASE("pull: a site's policy of signatures holds", "[image][root]") {
  TestStore test("policy");
  TestRegistry registry(test);
  auto image = imageOf("", "x");
  writeLayout(test.sub("layout"), {image});
  registry.push(test.sub("layout"), "app:1");
  auto name = registry.address + "/app:1";
  writeFile(test.sub("reject.json"), R"({"default":[{"type":"reject"}]})");
  writeFile(test.sub("home/.config/containers/policy.json"), R"({"default":[{"type":"reject"}]})");
  auto refused = [&]() {
    return test.errorOf([&] { test.ensure(name, "t1"); }).find("rejected by policy") !=
           std::string::npos;
  };
  test.settings.skopeo.policy = test.sub("reject.json");
  test.restart();
  CHECK(refused());
  test.settings.skopeo.policy = "";
  test.restart();
  std::string before = getenv("HOME") == nullptr ? "" : getenv("HOME");
  setenv("HOME", test.sub("home").c_str(), 1);
  KJ_DEFER(setenv("HOME", before.c_str(), 1));
  CHECK(refused());
  checkNothingLeft(test);
  test.settings.skopeo.policy = "insecure";
  test.restart();
  CHECK(test.ensure(name, "t1") == sha256(image.configJson()));
}

class Recorder final : public schema::Progress::Server {
 public:
  explicit Recorder(std::vector<std::string>& lines) : lines(lines) {}
  kj::Promise<void> update(UpdateContext context) override {
    lines.push_back(context.getParams().getText().cStr());
    return kj::READY_NOW;
  }

 private:
  std::vector<std::string>& lines;
};

TEST_CASE("pull: all who wait for an image share one transfer", "[image][root]") {
  TestStore test("shared");
  TestRegistry registry(test);
  auto image = imageOf("", std::string(3 << 20, 'x'));
  writeLayout(test.sub("layout"), {image});
  registry.push(test.sub("layout"), "app:1");
  auto name = registry.address + "/app:1";
  std::vector<std::string> first, second;
  auto one = test.ensureLater(name, "t1", schema::Progress::Client(kj::heap<Recorder>(first)));
  auto two = test.ensureLater(name, "t2", schema::Progress::Client(kj::heap<Recorder>(second)));
  auto three = test.ensureLater(name, "t3");
  { auto givenUp = kj::mv(one); }  // the others' transfer goes on
  CHECK(two.wait(test.io.waitScope) == sha256(image.configJson()));
  CHECK(three.wait(test.io.waitScope) == sha256(image.configJson()));
  CHECK(test.eventsOf("image.pulled") == 1);
  CHECK(second.size() > 0);
  CHECK(filesIn(test.root() + "/holds").size() == 2);
}

// A registry that takes connections and never answers.
struct SilentRegistry {
  explicit SilentRegistry(TestStore& test)
      : receiver(test.io.provider->getNetwork()
                     .parseAddress("127.0.0.1", 0)
                     .wait(test.io.waitScope)
                     ->listen()),
        address("127.0.0.1:" + std::to_string(receiver->getPort())) {}
  kj::Own<kj::ConnectionReceiver> receiver;
  std::string address;
};

TEST_CASE("pull: it ends when the last who waits has gone", "[image][root]") {
  TestStore test("cancel");
  test.settings.concurrentTransfers = 1;
  test.restart();
  SilentRegistry registry(test);
  writeLayout(test.sub("layout"), {imageOf("a:1", "a")});
  auto one = test.ensureLater(registry.address + "/app", "t1");
  auto two = test.ensureLater(registry.address + "/app", "t2");
  auto connection = registry.receiver->accept().wait(test.io.waitScope);
  CHECK(filesIn(test.root() + "/tmp").size() == 1);
  { auto givenUp = kj::mv(one); }
  { auto givenUp = kj::mv(two); }
  // The one place is free again only when skopeo is gone and its folder with it.
  CHECK(test.import(test.sub("layout")).size() == 1);
  CHECK(filesIn(test.root() + "/tmp").empty());
  connection->readAllBytes().wait(test.io.waitScope);  // to the end, which its process made
}

TEST_CASE("pull: one that takes too long is given up", "[image][root]") {
  TestStore test("late");
  test.settings.pullTimeout = 50 * kj::MILLISECONDS;
  test.restart();
  SilentRegistry registry(test);
  auto name = registry.address + "/app:latest";
  CHECK(test.errorOf([&] { test.ensure(name, "t1"); }) ==
        "cannot pull image '" + name +
            "': it is not done after 0 s, the setting pullTimeoutSeconds");
  checkNothingLeft(test);
}

}  // namespace
}  // namespace orch::image::oci::test
