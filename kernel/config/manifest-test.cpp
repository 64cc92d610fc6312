#include "kernel/config/manifest.h"

#include <catch2/catch.hpp>

#include "kernel/config/show.h"
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
       "eventLog, loopLimit, plugins, labels, resources, discovery"},
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
       "node.toml:3: 'deadline' is '5'; accepted: a duration such as \"30s\", \"1ms\" to \"24h\""},
      {"[[plugin]]\nid = 'a.b'\nrestart = { backoff = '5s' }\n",
       "node.toml:3: 'backoff' is '5s'; accepted: a range such as \"100ms..30s\", within "
       "\"1ms..1h\""},
      {"[[plugin]]\nid = 'a.b'\n[[plugin]]\nid = 'a.b'\n",
       "node.toml:3: plugin 'a.b' is named twice (first at node.toml:1); a second instance needs "
       "an id such as 'a.b#2'"},
      {"[[plugin]]\nid = 'a.b'\nstartDeadline = '0s'\n",
       "node.toml:3: 'startDeadline' is '0s'; accepted: a duration such as \"30s\", \"1ms\" to "
       "\"24h\""},
      {"[[plugin]]\nid = 'a.b'\ndeadline = '9999999h'\n",
       "node.toml:3: 'deadline' is '9999999h'; accepted: a duration such as \"30s\", \"1ms\" to "
       "\"24h\""},
      {"[node]\nloopLimit = '4294968s'\n",
       "node.toml:2: 'loopLimit' is '4294968s'; accepted: a duration such as \"30s\", \"2s\" to "
       "\"1h\""},
      {"[node]\neventLog = '17179869185g'\n",
       "node.toml:2: 'eventLog' is '17179869185g'; accepted: a size such as \"64m\", \"1m\" to "
       "\"64g\""},
      {"[[plugin]]\nid = 'a.b'\nrestart = { backoff = '1s..99999999999999999999h' }\n",
       "node.toml:3: 'backoff' is '1s..99999999999999999999h'; accepted: a range such as "
       "\"100ms..30s\", within \"1ms..1h\""},
      {"[[plugin]]\nid = 'a.b'\nfile = 'a.b.so'\n",
       "node.toml:3: 'file' is 'a.b.so'; accepted: an absolute path"},
      {"[node]\nplugins = ['/a',\n'b']\n",
       "node.toml:3: 'plugins' is 'b'; accepted: an absolute path"},
      {"[node]\nname = \"a\\nb\"\n",
       "node.toml:2: 'name' is \"a\\nb\"; accepted: 1 to 253 bytes without blanks and control "
       "characters"},
      {"[node]\nrun = \"/a\\u0000b\"\n",
       "node.toml:2: 'run' is \"/a\\u0000b\"; accepted: one line of at most 4095 bytes without "
       "control characters"},
      {"[node.labels]\n'' = 'x'\n",
       "node.toml:2: 'labels' has the key \"\"; accepted: a key of 1 to 255 bytes without blanks, "
       "'=' and control characters"},
      {"[node]\nresources = 4\n",
       "node.toml:2: 'resources' must be a table such as { gpu = 4 }, not a whole number"},
      {"[node.resources]\n'g pu' = 1\n",
       "node.toml:2: 'resources' has \"g pu\"; accepted: a kind of 1 to 63 letters, digits, '_', "
       "'.' "
       "and '-' that begins with a letter or a digit"},
      {"[node.resources]\ngpu = 0\n",
       "node.toml:2: 'gpu' is 0; accepted: 1 to 1000000, or names such as [\"GPU-1\"]"},
      {"[node.resources]\ngpu = -1\n",
       "node.toml:2: 'gpu' is -1; accepted: 1 to 1000000, or names such as [\"GPU-1\"]"},
      {"[node.resources]\ngpu = 'GPU-1'\n",
       "node.toml:2: 'gpu' must be a number such as 4 or names such as [\"GPU-1\"], not a text"},
      {"[node.resources]\ngpu = []\n",
       "node.toml:2: 'resources' has 0 names of \"gpu\"; accepted: 1 to 256"},
      {"[node.resources]\ngpu = ['A', 'A']\n",
       "node.toml:2: 'resources' names \"A\" of \"gpu\" twice; a name stands for one of them"},
      {"[node.resources]\ngpu = ['A,B']\n",
       "node.toml:2: 'resources' has \"A,B\" among the names of \"gpu\"; accepted: names of 1 to "
       "127 "
       "bytes without blanks, ',', '=' and control characters"},
      {"[node.resources]\ngpu = [1]\n", "node.toml:2: 'gpu' must be a text, not a whole number"},
      {"[plugin]\nid = 'a.b'\n",
       "node.toml:1: write [[plugin]], with two brackets, for each plugin"},
  };
  for (auto& bad : cases) CHECK(problemOf(bad.text) == bad.problem);
  CHECK(problemOf("[node\n").rfind("node.toml:1: not valid TOML: ", 0) == 0);
}

TEST_CASE("manifest: each URI of discovery is a plugin, and one unites them", "[config]") {
  auto manifest = parseManifest(R"([node]
discovery = ["file:///etc/hosts", "token://h:1/v1/t",
  "nodes://a:1,b:[1:3]", "a:1,b:1", "NODE://a:1", "token+http://h/v1/t"]
[[plugin]]
id = "discovery.file"
)",
                                "node.toml");
  std::string ids;
  for (auto& entry : manifest.plugins) ids += entry.id + " ";
  CHECK(ids ==
        "discovery.file discovery.file#1 discovery.token#2 discovery.node#3 discovery.node#4 "
        "discovery.node#5 discovery.token#6 control.discovery ");
  auto& third = manifest.plugins[3];
  CHECK(third.kind == "discovery");
  CHECK(third.name == "node");
  auto* uri = std::get<Table>(third.config.data).find("uri");
  REQUIRE(uri != nullptr);
  CHECK(std::get<std::string>(uri->data) == "nodes://a:1,b:[1:3]");
  CHECK(uri->line == 3);  // what the plugin refuses is found there
  CHECK(nodeToml(manifest.node, "n", false).find("discovery = [\"file:///etc/hosts\", ") !=
        std::string::npos);
  CHECK(parseManifest("[[plugin]]\nid = 'control.discovery'\n[node]\ndiscovery = ['a:1']\n", "n")
            .plugins.size() == 2);
  CHECK(parseManifest("[node]\ndiscovery = []\n", "n").plugins.empty());
}

TEST_CASE("manifest: a URI of discovery that no backend serves is refused by line", "[config]") {
  for (auto uri :
       {"zks://a:1", "consuls://a:1", "etcds://a:1", "http://a", "", "://a", "tokens://a/v1/t"}) {
    auto problem = problemOf(std::string("[node]\ndiscovery = ['a:1',\n'") + uri + "']\n");
    INFO(problem);
    CHECK(problem.rfind(std::string("node.toml:3: 'discovery' has \"") + uri +
                            "\", which no backend here serves; accepted: file:///path, ",
                        0) == 0);
  }
  CHECK(problemOf("[node]\ndiscovery = 'a:1'\n") ==
        "node.toml:2: 'discovery' must be a list of URIs, not a text");
  CHECK(problemOf("[node]\ndiscovery = [7]\n") ==
        "node.toml:2: 'discovery' must be a text, not a whole number");
  CHECK(
      problemOf("[node]\ndiscovery = ['a:1']\n[[plugin]]\nid = 'discovery.node#1'\n") ==
      "node.toml:2: 'discovery' makes the plugin 'discovery.node#1', which a [[plugin]] is called "
      "as well; call that one otherwise");
}

TEST_CASE("manifest: of labels with one key the last wins, the command line's over all",
          "[config]") {
  auto node = parseManifest("[node]\nlabels = { zone = 'b', disk = 'ssd' }\n", "node.toml").node;
  addCommandLineLabel(node, "zone", "a");
  addCommandLineLabel(node, "zone", "c");
  using Labels = std::vector<std::pair<std::string, std::string>>;
  CHECK(node.labels == Labels{{"disk", "ssd"}, {"zone", "c"}});
  for (auto& [key, value] : Labels{{"", "x"}, {"a b", "x"}, {"a", "x\ny"}}) {
    auto outcome =
        attemptNow([&, &key = key, &value = value]() { addCommandLineLabel(node, key, value); });
    CHECK_FALSE(outcome.ok());
  }
}

TEST_CASE("manifest: resources are counted or named, in the order of their kinds", "[config]") {
  auto node =
      parseManifest("[node.resources]\nssd = 3\ngpu = ['GPU-2', 'GPU-1']\n", "node.toml").node;
  CHECK(node.resources ==
        std::vector<ResourceEntry>{{"gpu", 2, {"GPU-2", "GPU-1"}}, {"ssd", 3, {}}});
  CHECK_THAT(nodeToml(node, "n", false),
             Catch::Contains("resources = { gpu = [\"GPU-2\", \"GPU-1\"], ssd = 3 }"));
  auto other = parseManifest("[node.resources]\ngpu = 2\n", "b").node;
  CHECK(changedKeys(node, other) == std::vector<std::string>{"resources"});
}

TEST_CASE("manifest: what cannot be read is named in one line", "[config]") {
  auto root = kj::newInMemoryDirectory(kj::nullClock());
  root->openSubdir(kj::Path({"etc", "orchd.toml"}),
                   kj::WriteMode::CREATE | kj::WriteMode::CREATE_PARENT);
  auto folder = attemptNow([&]() { return readManifest(*root, "/etc/orchd.toml"); });
  REQUIRE_FALSE(folder.ok());
  CHECK(plainText(folder.error()) ==
        "cannot read the manifest '/etc/orchd.toml'; it must be a file of at most 1 MiB that the "
        "user of orchd may read");
}

TEST_CASE("manifest: shown again it is what was set, or everything", "[config]") {
  auto manifest = parseManifest(
      "[node]\nname = 'n1'\neventLog = '32m'\n[[plugin]]\nid = 'a.b'\ncritical = true\n"
      "config = { root = \"/x\", 'odd key' = [1, 2] }\n",
      "node.toml");
  CHECK(nodeToml(manifest.node, "n1", false) == "[node]\nname = \"n1\"\neventLog = \"32m\"\n");
  auto& entry = manifest.plugins[0];
  CHECK(pluginToml(entry, Isolation::PROCESS, "root = \"/x\"\n", false) ==
        "[[plugin]]\nid = \"a.b\"\ncritical = true\n[plugin.config]\n\"odd key\" = [1, 2]\n"
        "root = \"/x\"\n");
  auto all = nodeToml(manifest.node, "n1", true) + "\n" +
             pluginToml(entry, Isolation::PROCESS, "root = \"/x\"\n", true);
  auto again = parseManifest(all.c_str(), "shown.toml");
  CHECK(changedKeys(again.node, manifest.node).empty());
  CHECK(again.plugins[0].restart == entry.restart);
  CHECK(*again.plugins[0].isolation == Isolation::PROCESS);
  CHECK(all.find("deadline = \"30s\"") != std::string::npos);
}

TEST_CASE("manifest: what differs in [node] is named by key", "[config]") {
  auto before = parseManifest("[node]\nname = 'a'\nlabels = { x = '1', y = '2' }\n", "a").node;
  auto after = parseManifest(
                   "[node]\nlogLevel = 'debug'\nname = 'a'\neventLog = '2m'\n"
                   "labels = { y = '2', x = '1' }\n",
                   "b")
                   .node;
  CHECK(changedKeys(before, after) == std::vector<std::string>{"logLevel", "eventLog"});
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
