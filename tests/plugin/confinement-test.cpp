// What a plugin in a process of its own sees of the node, and what it may do.
#include <catch2/catch.hpp>
#include <linux/capability.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <cstring>

#include "orch/fail.h"
#include "test-node.h"

namespace orch {
namespace {

std::string curious(const std::string& rest = "", const char* isolation = "process") {
  return std::string("[[plugin]]\nid = 'scheduler.spread'\n") + "[[plugin]]\nid = 'store.local'\n" +
         "[[plugin]]\nid = 'test.curious'\nisolation = '" + isolation + "'\n" + rest;
}

std::string seen(TestNode& node, kj::StringPtr what) {
  auto outcome = node.call(node.scheduler("test.curious"), what);
  REQUIRE_FALSE(outcome.ok());
  return plainText(outcome.error()).cStr();
}

// A line of /proc/<pid>/status, without its name.
std::string lineOf(const std::string& status, const std::string& name) {
  auto at = status.find("\n" + name + ":\t");
  if (at == std::string::npos) return "";
  auto begin = at + name.size() + 3;
  return status.substr(begin, status.find('\n', begin) - begin);
}

std::string maskText(std::initializer_list<int> capabilities) {
  uint64_t mask = 0;
  for (int number : capabilities) mask |= uint64_t{1} << number;
  char text[17];
  snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(mask));
  return text;
}

std::string refusalOf(const std::string& plugins) {
  TestNode node("");
  node.write(plugins);
  auto outcome = attempt(node.kernel.reload()).wait(node.io.waitScope);
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

TEST_CASE("confinement: a plugin reaches what it asks for or was granted, and no other service",
          "[plugin]") {
  for (auto* isolation : {"process", "kernel"}) {
    CAPTURE(isolation);
    {
      TestNode node(curious("", isolation));
      CHECK(seen(node, "scheduler.spread") == "reached");
      CHECK(seen(node, "services") == "scheduler.spread");
      CHECK(seen(node, "store.local") ==
            "plugin 'test.curious' may not call the service 'store.local', which its file does not "
            "ask for; to grant it, add services = [\"store.local\"] to its entry in the manifest");
      // A name that begins like one that is granted, the kernel's own service, one that never
      // comes.
      for (auto* other : {"schedulers.one", "kernel", "no.such"}) {
        CHECK(seen(node, other).find("may not call") != std::string::npos);
      }
    }
    TestNode node(curious("services = ['store', 'kernel']\n", isolation));
    CHECK(seen(node, "store.local") == "reached");
    CHECK(seen(node, "kernel") == "reached");
    CHECK(seen(node, "services") == "kernel scheduler.spread store.local");
  }
}

TEST_CASE("confinement: who asks for a plugin that is not in the manifest is told so", "[plugin]") {
  TestNode node(curious("services = ['store']\n"));
  CHECK(seen(node, "other.one") == "there is no plugin 'other.one' in the manifest");
  CHECK(seen(node, "store.local") == "reached");
  auto without = curious("services = ['store']\n");
  auto store = without.find("[[plugin]]\nid = 'store.local'\n");
  node.write(without.erase(store, strlen("[[plugin]]\nid = 'store.local'\n")));
  auto result = node.kernel.reload().wait(node.io.waitScope);
  CHECK(result.applied == std::vector<std::string>{"store.local stopped"});
  CHECK(seen(node, "store.local") == "there is no plugin 'store.local' in the manifest");
  CHECK(seen(node, "services") == "scheduler.spread");
  node.write(curious("services = ['store']\n"));
  node.kernel.reload().wait(node.io.waitScope);
  CHECK(seen(node, "store.local") == "reached");
}

TEST_CASE("confinement: a plugin's process has the environment of its entry, not orchd's",
          "[plugin]") {
  setenv("ORCH_TEST_SECRET", "of orchd", 1);
  TestNode node(curious("env = { HTTPS_PROXY = 'http://proxy:3128', LANG = 'C' }\n"));
  CHECK(seen(node, "environ") ==
        "HTTPS_PROXY=http://proxy:3128 LANG=C "
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 ");
}

TEST_CASE("confinement: a plugin's process has the capabilities that it asks for, for good",
          "[plugin][root]") {
  struct Case {
    const char* entry;
    std::string mask;
  };
  const Case cases[] = {{"", maskText({CAP_CHOWN, CAP_NET_ADMIN})},
                        {"capabilities = ['CHOWN']\n", maskText({CAP_CHOWN})},
                        {"capabilities = []\n", maskText({})}};
  for (auto& [entry, mask] : cases) {
    TestNode node(curious(entry));
    auto status = seen(node, "status");
    for (auto* set : {"CapPrm", "CapEff", "CapBnd"}) CHECK(lineOf(status, set) == mask);
    for (auto* set : {"CapInh", "CapAmb"}) CHECK(lineOf(status, set) == maskText({}));
    CHECK(lineOf(status, "NoNewPrivs") == "1");
  }
}

TEST_CASE("confinement: a plugin's process has mounts of its own", "[plugin][root]") {
  TestNode node(curious());
  char ours[PATH_MAX] = {};
  REQUIRE(readlink("/proc/self/ns/mnt", ours, sizeof(ours) - 1) > 0);
  CHECK(seen(node, "ns/mnt") != ours);
  CHECK(seen(node, "mountinfo").find(" shared:") == std::string::npos);
}

TEST_CASE("confinement: what cannot be granted is refused before anything changes", "[plugin]") {
  CHECK(refusalOf(curious("capabilities = ['SYS_ADMIN']\n"))
            .find("plugin 'test.curious' does not ask for the capability SYS_ADMIN; 'orchd "
                  "--inspect ") != std::string::npos);
  CHECK(refusalOf(curious("capabilities = ['CAP_CHOWN']\n"))
            .find("'capabilities' has \"CAP_CHOWN\"; accepted: the names of capabilities(7) "
                  "without CAP_, such as \"NET_ADMIN\"") != std::string::npos);
  CHECK(refusalOf(curious("env = { A = 'b' }\n", "kernel"))
            .find("env is for a plugin in a process of its own; 'test.curious' runs in the kernel: "
                  "set isolation = \"process\"") != std::string::npos);
  CHECK(refusalOf(curious("env = { 'A=B' = 'b' }\n")).find("'env' has the name") !=
        std::string::npos);
}

}  // namespace
}  // namespace orch
