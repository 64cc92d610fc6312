#include <catch2/catch.hpp>

#include "kernel/plugin/entry-check.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::plugin {
namespace {

std::string settingsProblem(const std::string& config) {
  auto manifest = config::parseManifest(
      "[[plugin]]\nid = 'store.local'\nconfig = { " + config + " }\n", "n.toml");
  PluginPlaces places;
  places.folders = {SHIPPED_PLUGINS};
  places.ownFolder = SHIPPED_PLUGINS;
  auto checked = attemptNow([&]() { return checkEntry(manifest.plugins[0], places); });
  return checked.ok() ? "" : plainText(checked.error()).cStr();
}

TEST_CASE("settings: a number outside of what its field accepts is named with its place",
          "[config]") {
  CHECK(settingsProblem("maxOps = 100000") == "");
  CHECK(settingsProblem("maxOps = 0") == "n.toml:3: 'maxOps' is 0; accepted: 1 to 100000");
  CHECK(settingsProblem("maxBytes = '65m'") ==
        "n.toml:3: 'maxBytes' is 68157440; accepted: 4096 to 67108864");
  CHECK(settingsProblem("changeRecords = -5") ==
        "n.toml:3: 'changeRecords' is -5; accepted: 1000 to 1000000");
}

TEST_CASE("settings: a file that cannot be used is told with the entry's place", "[config]") {
  auto manifest = config::parseManifest("[[plugin]]\nid = 'a.b'\nfile = '/etc/passwd'\n", "n.toml");
  auto checked = attemptNow([&]() { return checkEntry(manifest.plugins[0], PluginPlaces{}); });
  REQUIRE_FALSE(checked.ok());
  CHECK(checked.message() == "n.toml:1: plugin file '/etc/passwd' is not an ELF file");
}

TEST_CASE("settings: what a plugin refuses is told with the place of the setting that it names",
          "[config]") {
  auto manifest = config::parseManifest(
      "[[plugin]]\nid = 'a.b'\n[plugin.config]\nmaxTransfers = 1000\nroot = '/x'\n", "n.toml");
  auto& entry = manifest.plugins[0];
  CHECK(located(entry, "maxTransfers = 1000 cannot be used") ==
        "n.toml:4: maxTransfers = 1000 cannot be used");
  CHECK(located(entry, "rooted in nothing") == "n.toml:3: rooted in nothing");
}

}  // namespace
}  // namespace orch::plugin
