#include "kernel/config/manifest.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::config {
namespace {

std::string problemOf(const std::string& text) {
  auto outcome = attemptNow([&]() { return parseManifest(text, "node.toml"); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

TEST_CASE("manifest: everything that can be written is read", "[config]") {
  auto manifest = parseManifest(R"(
[node]
name = "n1"
data = "/srv/orch"
labels = { "com.example.storage" = "ssd" }
[[plugin]]
id = "image.oci"
isolation = "process"
critical = true
deadline = "1m30s"
restart = { backoff = "200ms..10s", limit = 7, window = "1h" }
config = { root = "/srv/images" }
[[plugin]]
id = "store.local#agent"
)",
                                "node.toml");
  CHECK(manifest.node.name == "n1");
  CHECK(manifest.node.labels[0].second == "ssd");
  REQUIRE(manifest.plugins.size() == 2);
  auto& image = manifest.plugins[0];
  CHECK(image.kind == "image");
  CHECK(image.name == "oci");
  CHECK(*image.isolation == Isolation::PROCESS);
  CHECK(image.critical);
  CHECK(image.deadlineMs == 90'000);
  CHECK(image.restart.backoffMinMs == 200);
  CHECK(image.restart.backoffMaxMs == 10'000);
  CHECK(image.restart.limit == 7);
  CHECK(std::get<std::string>(std::get<Table>(image.config.data).find("root")->data) ==
        "/srv/images");
  CHECK(manifest.plugins[1].name == "local");
}

TEST_CASE("manifest: a mistake is named with file, line, key and what is accepted", "[config]") {
  struct Case {
    const char* text;
    const char* problem;
  };
  const Case cases[] = {
      {"[node]\nnam = 'x'\n",
       "node.toml:2: unknown key 'nam' in [node]; accepted: name, data, run, listen, logLevel, "
       "eventLog, loopLimit, plugins, labels"},
      {"[nodes]\n", "node.toml:1: unknown key 'nodes' in the manifest; accepted: node, plugin"},
      {"[node]\ndata = 'here'\n", "node.toml:2: 'data' is 'here'; accepted: an absolute path"},
      {"[node]\nname = 7\n", "node.toml:2: 'name' must be a text, not a whole number"},
      {"[node]\nlogLevel = 'loud'\n",
       "node.toml:2: 'logLevel' is 'loud'; accepted: trace, debug, info, warn, error"},
      {"[[plugin]]\nid = 'crun'\n",
       "node.toml:2: 'id' is 'crun'; accepted: kind.name or kind.name#instance, such as "
       "\"runtime.crun\""},
      {"[[plugin]]\ncritical = true\n",
       "node.toml:1: a [[plugin]] needs an 'id' such as \"runtime.crun\""},
      {"[[plugin]]\nid = 'a.b'\nisolation = 'vm'\n",
       "node.toml:3: 'isolation' is 'vm'; accepted: kernel, process"},
      {"[[plugin]]\nid = 'a.b'\ndeadline = '5'\n",
       "node.toml:3: 'deadline' is '5'; accepted: a duration such as \"500ms\", \"30s\" or \"5m\""},
      {"[[plugin]]\nid = 'a.b'\nrestart = { backoff = '5s' }\n",
       "node.toml:3: 'backoff' is '5s'; accepted: a range such as \"100ms..30s\""},
      {"[[plugin]]\nid = 'a.b'\n[[plugin]]\nid = 'a.b'\n",
       "node.toml:3: plugin 'a.b' is named twice (first at node.toml:1); a second instance needs "
       "an id such as 'a.b#2'"},
      {"[plugin]\nid = 'a.b'\n",
       "node.toml:1: write [[plugin]], with two brackets, for each plugin"},
  };
  for (auto& bad : cases) CHECK(problemOf(bad.text) == bad.problem);
  CHECK(problemOf("[node\n").rfind("node.toml:1: not valid TOML: ", 0) == 0);
}

TEST_CASE("manifest: plugins.d adds to it in order of name", "[config]") {
  auto root = kj::newInMemoryDirectory(kj::nullClock());
  auto put = [&](kj::StringPtr path, kj::StringPtr text) {
    root->openFile(kj::Path::parse(path), kj::WriteMode::CREATE | kj::WriteMode::CREATE_PARENT)
        ->writeAll(text);
  };
  put("etc/orch/orchd.toml", "[[plugin]]\nid = 'a.first'\n");
  put("etc/orch/plugins.d/20.toml", "[[plugin]]\nid = 'a.third'\n");
  put("etc/orch/plugins.d/10.toml", "[[plugin]]\nid = 'a.second'\n");
  put("etc/orch/plugins.d/README", "not TOML at all [");
  auto manifest = readManifest(*root, "/etc/orch/orchd.toml");
  REQUIRE(manifest.plugins.size() == 3);
  CHECK(manifest.plugins[1].name == "second");
  CHECK(manifest.plugins[2].name == "third");
  CHECK(manifest.files.size() == 3);
}

}  // namespace
}  // namespace orch::config
