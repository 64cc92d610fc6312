#include "reference.h"

#include <catch2/catch.hpp>

#include "orch/durable-file.h"
#include "orch/testing/test-host.h"
#include "test-images.h"

namespace orch::image::oci::test {
namespace {

TEST_CASE("checked file: every flipped byte and every cut is refused by name", "[image]") {
  testing::TestFolder folder("image-checked");
  auto path = std::string(folder.sub("index").cStr());
  std::string content = "what the images are";
  auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(content.data()), content.size());
  CHECK(readChecked(path, "index", "-") == nullptr);
  writeChecked(path, bytes);
  auto good = readFile(path);
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= 0x20;
    writeFile(path, bad);
    REQUIRE_THROWS(readChecked(path, "index", "import again"));
    writeFile(path, good.substr(0, i));
    REQUIRE_THROWS(readChecked(path, "index", "import again"));
  }
  writeFile(path, good.substr(1));
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { readChecked(path, "index", "do X"); })) {
    CHECK(exception->getDescription() ==
          kj::str("the index '", path.c_str(),
                  "' is damaged: it does not begin as such a file does; do X"));
  }
}

}  // namespace
}  // namespace orch::image::oci::test
