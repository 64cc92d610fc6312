// What a service was before.
#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: what a service was, and what was changed", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  auto first = server.run({"service", "history", "--format", "{{.Version}} {{.Image}}", "web"});
  CHECK(first.out == "1 nginx:1\n");
  REQUIRE(server.run({"service", "update", "-d", "--image", "nginx:2", "web"}).status == 0);
  auto ran = server.run({"service", "history", "--format",
                         "{{.Version}}|{{.Image}}|{{.Changed}}|{{.Outcome}}", "web"});
  CHECK(ran.out ==
        "2|nginx:2|image nginx:1 -> nginx:2|\n"
        "1|nginx:1||update paused: task web.2: exit 1\n");
  CHECK(has(server.run({"service", "history", "web"}).out, "VERSION   CREATED"));
  CHECK(has(server.run({"service", "history", "--json", "web"}).out, "\"number\""));
  CHECK(server.run({"service", "rollback", "--to", "0", "web"}).status == 2);
}

}  // namespace
}  // namespace orch::cli
