// The promises of the kind, kept by the store in this process.
#include <catch2/catch.hpp>
#include <kj/debug.h>

#include <filesystem>
#include <string>
#include <vector>

#include "orch/conformance/image-conformance.h"
#include "store-fixture.h"
#include "test-images.h"

namespace orch::image::oci::test {
namespace {

class Subject final : public conformance::ImageSubject {
 public:
  Subject() { std::filesystem::create_directories(folder()); }
  kj::WaitScope& waitScope() override { return test.io.waitScope; }
  schema::ImageStore::Client images() override { return test.service(); }
  void restart() override { test.restart(); }
  std::string folder() override { return test.sub("files"); }
  // What was broken off is taken away by another thread, a little later.
  void untilNothingIsLeft() override {
    auto& timer = test.io.provider->getTimer();
    auto end = timer.now() + PATIENCE;
    for (auto left = leftovers(); !left.empty(); left = leftovers()) {
      KJ_REQUIRE(timer.now() < end, "something of an image is left", left[0].c_str());
      timer.afterDelay(10 * kj::MILLISECONDS).wait(waitScope());
    }
  }

 private:
  static constexpr kj::Duration PATIENCE = 60 * kj::SECONDS;
  std::vector<std::string> leftovers() {
    std::vector<std::string> all;
    for (auto name : {"tmp", "layers", "blobs", "kept", "holds"}) {
      for (auto& file : filesIn(test.root() + "/" + name)) all.push_back(name + ("/" + file));
    }
    return all;
  }
  TestStore test{"conformance"};
};

TEST_CASE("image: keeps the promises of an image store", "[image][root]") {
  for (auto& check : conformance::imageChecks()) {
    Subject subject;
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

}  // namespace
}  // namespace orch::image::oci::test
