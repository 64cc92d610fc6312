// The promises of the kind, kept by the store in this process.
#include <catch2/catch.hpp>
#include <kj/debug.h>

#include <filesystem>

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
  void requireNothingLeft() override {
    for (auto name : {"tmp", "layers", "blobs", "kept", "holds"}) {
      auto left = filesIn(test.root() + "/" + name);
      KJ_REQUIRE(left.empty(), "something of an image is left", name, left[0].c_str());
    }
  }

 private:
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
