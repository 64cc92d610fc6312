#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "orch/testing/test-host.h"
#include "recording-server.h"

namespace orch::cli {
namespace {

std::string contentOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_CASE("cli: templates are listed, and rendered to stdout or into a file", "[cli]") {
  RecordingServer server;
  testing::TestFolder folder("cli-template");
  mkdir(folder.path().cStr(), 0755);
  std::string file = folder.sub("in").cStr(), out = folder.sub("out").cStr();
  std::ofstream(file) << "{{env \"CLUSTER\"}}";
  CHECK(server.run({"template", "ls"}).out ==
        "DESTINATION           SOURCE                 STATE      RENDERED   REASON\n"
        "/etc/nginx/web.conf   /etc/orch/web.ctmpl    Rendered   -\n"
        "/etc/keys             /etc/orch/keys.ctmpl   Waiting    -          waits for key 'a'\n");
  CHECK(server.run({"template", "ls", "-q"}).out == "/etc/nginx/web.conf\n/etc/keys\n");
  std::string text = "<{{env \"CLUSTER\"}}> CLUSTER=lab\n";
  Words variables = {"CLUSTER=lab", "SECRET=not for this template"};
  CHECK(server.run({"template", "render", "--once", file}, variables).out == text);
  CHECK(has(server.run({"template", "render", "--json", file}, variables).out, "\"text\""));
  CHECK(server.run({"template", "render", "--output", out, "--dry", file}, variables).out == text);
  CHECK(contentOf(out).empty());
  CHECK(server.run({"template", "render", "--output", out, file}, variables).out == "");
  CHECK(contentOf(out) == text);
  struct stat before = {}, after = {};
  REQUIRE(stat(out.c_str(), &before) == 0);
  CHECK(server.run({"template", "render", "--output", out, file}, variables).status == 0);
  REQUIRE(stat(out.c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  CHECK(server.run({"template", "render", "--dry", file}).status == 2);
  auto missing = server.run({"template", "render", file + "x"});
  CHECK(missing.status == 1);
  CHECK(missing.errors == "orch: cannot read '" + file + "x': No such file or directory\n");
  auto other = server.run({"template", "ls", "--plugin", "integration.template#lab"});
  CHECK(has(other.errors, "no service 'integration.template#lab' runs here"));
}

}  // namespace
}  // namespace orch::cli
