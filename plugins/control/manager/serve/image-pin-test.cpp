#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/schema/image.capnp.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

// A registry's answer, as the image plugin passes it on.
class TagImages final : public schema::ImageStore::Server {
 public:
  TagImages(std::map<std::string, std::string>& tags, std::map<std::string, std::string>& imported,
            std::string& asked)
      : tags(tags), imported(imported), asked(asked) {}
  kj::Promise<void> resolve(ResolveContext context) override {
    asked = context.getParams().getLogin().getPassword().cStr();
    auto found = tags.find(context.getParams().getReference().cStr());
    if (found == tags.end()) fail(kj::str("the registry does not answer"));
    context.getResults().setDigest(found->second.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> inspect(InspectContext context) override {
    auto found = imported.find(context.getParams().getReference().cStr());
    if (found == imported.end()) fail(kj::str("no such image on this node"));
    auto image = context.getResults().initImage();
    image.initReferences(1).set(0, found->first.c_str());
    image.setDigest(found->second.c_str());
    return kj::READY_NOW;
  }

 private:
  std::map<std::string, std::string>& tags;
  std::map<std::string, std::string>& imported;  // on this node
  std::string& asked;
};

struct PinCluster {
  PinCluster() {
    cluster.host.addService("image.oci", kj::heap<TagImages>(tags, imported, asked));
    cluster.start();
  }
  template <typename Request>
  kj::Vector<kj::String> send(Request request, kj::StringPtr image, kj::StringPtr digest = "") {
    request.setRequestId(cluster.world.env().newId());
    request.setResolveImage(resolves);
    if (!password.empty()) {
      auto login = request.initLogin();
      login.setRegistry("docker.io");
      login.setUser("ann");
      login.setPassword(password.c_str());
    }
    auto spec = request.initSpec();
    spec.setName("web");
    spec.getMode().initReplicated().setReplicas(0);
    auto container = spec.initTask().initContainer();
    container.setImage(image);
    container.setImageDigest(digest);
    auto response = request.send().wait(cluster.world.waitScope());
    kj::Vector<kj::String> warnings;
    for (auto warning : response.getWarnings()) warnings.add(kj::str(warning));
    return warnings;
  }
  kj::Vector<kj::String> create(kj::StringPtr image) {
    return send(cluster.control.createServiceRequest(), image);
  }
  kj::Vector<kj::String> update(const std::string& image, kj::StringPtr digest = "") {
    auto request = cluster.control.updateServiceRequest();
    request.setId("web");
    return send(kj::mv(request), image.c_str(), digest);
  }
  std::string pin() {
    auto service = cluster.service("web");
    return service.getService().getSpec().getTask().getContainer().getImageDigest().cStr();
  }
  uint64_t specVersion() { return cluster.service("web").getService().getSpecVersion(); }

  std::map<std::string, std::string> tags{{"app:1", "sha256:one"}};
  std::map<std::string, std::string> imported;
  std::string password;  // of the login that comes with a request
  std::string asked;     // the password that the registry was asked with last
  bool resolves = true;
  testing::TestFolder folder{"manager-pin"};
  TestCluster cluster{1000, testing::testSeed(), folder.path()};
};

TEST_CASE("pin: a tag is what it means when the service is made, and again when it is asked for",
          "[manager]") {
  PinCluster test;
  CHECK(test.create("app:1").size() == 0);
  CHECK(test.pin() == "sha256:one");
  test.tags["app:1"] = "sha256:two";
  test.resolves = false;
  CHECK(test.update("app:1", "sha256:one").size() == 0);
  CHECK(test.specVersion() == 1);
  CHECK(test.pin() == "sha256:one");
  test.resolves = true;
  CHECK(test.update("app:1").size() == 0);
  CHECK(test.pin() == "sha256:two");
  CHECK(test.specVersion() == 2);
  CHECK(test.update("app:1").size() == 0);
  CHECK(test.specVersion() == 2);
}

TEST_CASE("pin: where nobody can tell there is a warning, and the service stays what it is",
          "[manager]") {
  PinCluster test;
  test.create("app:1");
  test.tags.clear();
  auto warnings = test.update("app:1");
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] ==
        "cannot tell what image 'app:1' is now (the registry does not answer); it stays what it "
        "was, sha256:one");
  CHECK(test.pin() == "sha256:one");
  CHECK(test.specVersion() == 1);
  warnings = test.update("app:2");
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] ==
        "cannot tell what image 'app:2' is now (the registry does not answer); each task runs what "
        "its node has under that name");
  CHECK(test.pin() == "");
  // A digest says it all.
  CHECK(test.update("app@sha256:" + std::string(64, 'a')).size() == 0);
}

TEST_CASE("pin: the registry is asked with the login of the request, else of the service",
          "[manager]") {
  PinCluster test;
  test.password = "first";
  test.create("app:1");
  CHECK(test.asked == "first");
  test.password.clear();
  test.update("app:1");
  CHECK(test.asked == "first");
  test.password = "second";
  test.update("app:1");
  CHECK(test.asked == "second");
  test.password.clear();
  test.update("app:1");
  CHECK(test.asked == "second");
}

TEST_CASE("pin: a name means what it was imported as, on whichever node", "[manager]") {
  PinCluster test;
  auto one = "sha256:" + std::string(64, '1'), two = "sha256:" + std::string(64, '2');
  auto& n1 = test.cluster.addNode("n1");
  auto& n2 = test.cluster.addNode("n2");
  n1.open();
  n2.open();
  n1.offer({{one, {"app:1"}}});
  n2.offer({{one, {}}, {two, {"app:2"}}});
  CHECK(test.create("app:1").size() == 0);
  CHECK(test.pin() == one);
  CHECK(test.update("docker.io/library/app:2").size() == 0);
  CHECK(test.pin() == two);
  // Imported anew on one of them only.
  n2.offer({{two, {"app:1"}}});
  auto different = attemptNow([&] { test.update("app:1"); });
  REQUIRE(!different.ok());
  CHECK(different.message() ==
        kj::str("image 'app:1' is not the same everywhere it was imported: ", one.c_str(),
                " on host-n1, ", two.c_str(),
                " on host-n2; name one as NAME@DIGEST, or remove the others with 'orch image rm'"));
  CHECK(test.pin() == two);
  // What this node has itself counts as it is now.
  n1.offer({});
  test.imported["app:1"] = one;
  CHECK(!attemptNow([&] { test.update("app:1"); }).ok());
  test.imported["app:1"] = two;
  CHECK(test.update("app:1").size() == 0);
}

TEST_CASE("pin: what is refused asks no registry", "[manager]") {
  PinCluster test;
  test.create("app:1");
  test.tags.clear();
  auto outcome = attemptNow([&] { test.create("app:1"); });
  REQUIRE(!outcome.ok());
  CHECK_THAT(outcome.message().cStr(), Catch::Contains("service 'web' exists already"));
}

}  // namespace
}  // namespace orch::control::manager
