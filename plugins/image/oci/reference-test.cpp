#include "reference.h"

#include <catch2/catch.hpp>

#include "orch/durable-file.h"
#include "orch/testing/test-host.h"
#include "test-images.h"

namespace orch::image::oci::test {
namespace {

TEST_CASE("reference: names are read as docker reads them", "[image]") {
  auto canonical = [](const char* text) { return parseReference(text).canonical(); };
  CHECK(canonical("nginx") == "docker.io/library/nginx:latest");
  CHECK(canonical("nginx:1.2") == "docker.io/library/nginx:1.2");
  CHECK(canonical("team/app") == "docker.io/team/app:latest");
  CHECK(canonical("docker.io/nginx") == "docker.io/library/nginx:latest");
  CHECK(canonical("index.docker.io/library/nginx") == "docker.io/library/nginx:latest");
  CHECK(canonical("registry:5000/team/app:1.2") == "registry:5000/team/app:1.2");
  CHECK(canonical("localhost/a") == "localhost/a:latest");
  CHECK(canonical("[::1]:5000/a") == "[::1]:5000/a:latest");
  auto digest = "app@sha256:" + HEX;
  CHECK(canonical(digest.c_str()) == "docker.io/library/app@sha256:" + HEX);
  CHECK(parseReference("docker.io/library/nginx:latest").familiar() == "nginx:latest");
  CHECK(parseReference("docker.io/team/app:1").familiar() == "team/app:1");
  CHECK(parseReference("quay.io/team/app:1").familiar() == "quay.io/team/app:1");
  CHECK(parseReference("127.0.0.1:5000/a").loopback());
  CHECK(parseReference("localhost:5000/a").loopback());
  CHECK_FALSE(parseReference("127.example.com/a").loopback());
}

TEST_CASE("reference: what is no name is refused with what is accepted", "[image]") {
  for (auto* text : {"", "UPPER", "a b", "a//b", "/a", "a/", "a:", "a:b c", "a@sha256:12", "a..b",
                     "-a", "a___b", "reg:port/a", "../a", "a:-x", "host.com:99999999/a"}) {
    INFO(text);
    CHECK_THROWS(parseReference(text));
  }
  CHECK_THROWS(parseReference(std::string(300, 'a').c_str()));
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([] { parseReference("Nginx"); })) {
    CHECK(exception->getDescription() ==
          "invalid image reference 'Nginx': a name's parts are lower-case letters and digits, "
          "separated by '.', '_', '__' or dashes; accepted are 'name', 'name:tag', "
          "'registry:port/team/name:tag' and 'name@sha256:<64 hexadecimal digits>'");
  }
}

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
