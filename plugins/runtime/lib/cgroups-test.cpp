#include "cgroups.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "orch/testing/test-host.h"

namespace orch::runtime {
namespace {

void put(const testing::TestFolder& folder, const char* path, const char* text = "") {
  std::filesystem::path file = folder.sub(path).cStr();
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

void putV1(const testing::TestFolder& folder, std::initializer_list<const char*> controllers) {
  for (auto name : controllers) put(folder, kj::str(name, "/cgroup.procs").cStr());
}

std::string whyNot(const testing::TestFolder& folder, bool refusesHybrid) {
  Cgroups cgroups(folder.path().cStr(), "/orch");
  KJ_IF_MAYBE (why, cgroups.whyNot({"crun", refusesHybrid, "runtime.runc"})) {
    std::string text = why->cStr();
    std::string root = folder.path().cStr();
    for (size_t at; (at = text.find(root)) != std::string::npos;)
      text.replace(at, root.size(), "ROOT");
    return text;
  }
  return "";
}

TEST_CASE("cgroups: v2 with all controllers will do", "[runtime]") {
  testing::TestFolder folder("cgroups");
  put(folder, "cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
  put(folder, "cgroup.subtree_control", "memory pids\n");
  CHECK(whyNot(folder, true) == "");
  CHECK(Cgroups(folder.path().cStr(), "/orch").modeName() == "v2");
}

TEST_CASE("cgroups: v2 without memory and pids names both", "[runtime]") {
  testing::TestFolder folder("cgroups");
  put(folder, "cgroup.controllers", "cpuset cpu io\n");
  CHECK(whyNot(folder, false) ==
        "cgroup v2 has no controller memory, pids; enable it in the kernel (or remove "
        "cgroup_disable= from its command line)");
}

TEST_CASE("cgroups: v1 will do, and a missing mount is named with the command", "[runtime]") {
  testing::TestFolder folder("cgroups");
  putV1(folder, {"cpu", "memory", "devices"});
  CHECK(whyNot(folder, true) ==
        "cgroup v1 controller pids is not mounted below ROOT; mount it: mount -t cgroup -o pids "
        "cgroup ROOT/pids");
  putV1(folder, {"pids"});
  CHECK(whyNot(folder, true) == "");
  CHECK(Cgroups(folder.path().cStr(), "/orch").modeName() == "v1");
}

TEST_CASE("cgroups: crun needs a hybrid host's v2 to be empty, runc does not", "[runtime]") {
  testing::TestFolder folder("cgroups");
  putV1(folder, {"cpu", "memory", "devices", "pids"});
  put(folder, "unified/cgroup.controllers", "hugetlb rdma\n");
  CHECK(
      whyNot(folder, true) ==
      "crun does not work while cgroup v2 still has controllers (hugetlb, rdma); mount them as v1: "
      "mkdir ROOT/hugetlb && mount -t cgroup -o hugetlb cgroup ROOT/hugetlb; or use runtime.runc");
  CHECK(whyNot(folder, false) == "");
  CHECK(Cgroups(folder.path().cStr(), "/orch").modeName() == "hybrid");
  put(folder, "unified/cgroup.controllers", "\n");
  CHECK(whyNot(folder, true) == "");
}

TEST_CASE("cgroups: nothing mounted is said", "[runtime]") {
  testing::TestFolder folder("cgroups");
  CHECK(whyNot(folder, true) ==
        "no cgroups are mounted at ROOT; mount cgroup2 there, or the v1 controllers below it");
}

TEST_CASE("cgroups: a kill for lack of memory is read on v1 and v2", "[runtime]") {
  testing::TestFolder v1("cgroups-v1");
  putV1(v1, {"cpu", "memory", "devices", "pids"});
  put(v1, "memory/orch/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  put(v1, "memory/orch/b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
  Cgroups first(v1.path().cStr(), "/orch");
  CHECK(first.oomKilled("a"));
  CHECK_FALSE(first.oomKilled("b"));
  CHECK_FALSE(first.oomKilled("gone"));
  testing::TestFolder v2("cgroups-v2");
  put(v2, "cgroup.controllers", "cpu memory pids\n");
  put(v2, "orch/a/memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n");
  CHECK(Cgroups(v2.path().cStr(), "/orch").oomKilled("a"));
}

}  // namespace
}  // namespace orch::runtime
