#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: an image that is in use is not removed, and its users are named", "[cli]") {
  RecordingServer server;
  server.hasImages = true;
  auto used = server.run({"image", "rm", "nginx:1"});
  CHECK(used.status == 1);
  CHECK(used.errors ==
        "orch: cannot remove image 'nginx:1': it is used by service 'web'; update or remove what "
        "uses it first\n");
  auto both = server.run({"image", "rm", "nosuch", "nginx:1"});
  CHECK(has(both.errors, "orch: no image 'nosuch'; see 'orch image ls'\n"));
  CHECK(has(both.errors, "it is used by service 'web'"));
}

}  // namespace
}  // namespace orch::cli
