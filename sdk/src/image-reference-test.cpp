#include "orch/image-reference.h"

#include <catch2/catch.hpp>
#include <kj/exception.h>

namespace orch {
namespace {

const std::string HEX(64, 'a');

TEST_CASE("image reference: names are read as docker reads them", "[sdk]") {
  auto canonical = [](const char* text) { return parseImageReference(text).canonical(); };
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
  CHECK(parseImageReference("docker.io/library/nginx:latest").familiar() == "nginx:latest");
  CHECK(parseImageReference("docker.io/team/app:1").familiar() == "team/app:1");
  CHECK(parseImageReference("quay.io/team/app:1").familiar() == "quay.io/team/app:1");
  CHECK(parseImageReference("registry:5000/team/app:1").name() == "registry:5000/team/app");
  CHECK(parseImageReference(digest.c_str()).name() == "app");
  CHECK(parseImageReference("127.0.0.1:5000/a").loopback());
  CHECK(parseImageReference("localhost:5000/a").loopback());
  CHECK_FALSE(parseImageReference("127.example.com/a").loopback());
}

TEST_CASE("image reference: what is no name is refused with what is accepted", "[sdk]") {
  for (auto* text : {"", "UPPER", "a b", "a//b", "/a", "a/", "a:", "a:b c", "a@sha256:12", "a..b",
                     "-a", "a___b", "reg:port/a", "../a", "a:-x", "host.com:99999999/a"}) {
    INFO(text);
    CHECK_THROWS(parseImageReference(text));
  }
  CHECK_THROWS(parseImageReference(std::string(300, 'a').c_str()));
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([] { parseImageReference("Nginx"); })) {
    CHECK(exception->getDescription() ==
          "invalid image reference 'Nginx': a name's parts are lower-case letters and digits, "
          "separated by '.', '_', '__' or dashes; accepted are 'name', 'name:tag', "
          "'registry:port/team/name:tag' and 'name@sha256:<64 hexadecimal digits>'");
  }
}

}  // namespace
}  // namespace orch
