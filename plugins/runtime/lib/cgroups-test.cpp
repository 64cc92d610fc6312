#include "cgroups.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "orch/testing/test-host.h"
#include "process-usage.h"

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

TEST_CASE("cgroups: what is used is read of v1", "[runtime]") {
  testing::TestFolder folder("cgroups");
  putV1(folder, {"cpu", "cpuacct", "memory", "pids", "blkio"});
  Cgroups cgroups(folder.path().cStr(), "/orch");
  auto none = cgroups.usage("c1");
  CHECK(none.cpuNs == -1);
  CHECK(none.memoryBytes == -1);
  CHECK(none.pids == -1);
  CHECK(none.readBytes == -1);
  put(folder, "cpuacct/orch/c1/cpuacct.usage", "12345\n");
  put(folder, "memory/orch/c1/memory.usage_in_bytes", "5000\n");
  put(folder, "memory/orch/c1/memory.limit_in_bytes", "9223372036854771712\n");
  put(folder, "memory/orch/c1/memory.stat",
      "cache 900\ninactive_file 1\ntotal_inactive_file 700\n");
  put(folder, "pids/orch/c1/pids.current", "3\n");
  put(folder, "blkio/orch/c1/blkio.throttle.io_service_bytes_recursive",
      "8:0 Read 100\n8:0 Write 20\n8:0 Total 120\n8:16 Read 1\n8:16 Write 2\nTotal 123\n");
  auto usage = cgroups.usage("c1");
  CHECK(usage.cpuNs == 12345);
  CHECK(usage.memoryBytes == 4300);
  CHECK(usage.memoryLimitBytes == -1);
  CHECK(usage.pids == 3);
  CHECK(usage.readBytes == 101);
  CHECK(usage.writtenBytes == 22);
  put(folder, "memory/orch/c1/memory.limit_in_bytes", "8000\n");
  CHECK(cgroups.usage("c1").memoryLimitBytes == 8000);
}

TEST_CASE("cgroups: what is used is read of v2", "[runtime]") {
  testing::TestFolder folder("cgroups");
  put(folder, "cgroup.controllers", "cpu memory pids\n");
  Cgroups cgroups(folder.path().cStr(), "/orch");
  CHECK(cgroups.usage("c1").cpuNs == -1);
  put(folder, "orch/c1/cpu.stat", "usage_usec 12\nuser_usec 10\n");
  put(folder, "orch/c1/memory.current", "5000\n");
  put(folder, "orch/c1/memory.max", "max\n");
  put(folder, "orch/c1/memory.stat", "inactive_anon 1\ninactive_file 700\n");
  put(folder, "orch/c1/pids.current", "3\n");
  auto usage = cgroups.usage("c1");
  CHECK(usage.cpuNs == 12'000);
  CHECK(usage.memoryBytes == 4300);
  CHECK(usage.memoryLimitBytes == -1);
  CHECK(usage.pids == 3);
  CHECK(usage.readBytes == -1);
  put(folder, "orch/c1/memory.max", "8000\n");
  put(folder, "orch/c1/io.stat",
      "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n");
  usage = cgroups.usage("c1");
  CHECK(usage.memoryLimitBytes == 8000);
  CHECK(usage.readBytes == 101);
  CHECK(usage.writtenBytes == 22);
}

TEST_CASE("cgroups: processes are those of the cgroups below, too", "[runtime]") {
  testing::TestFolder folder("cgroups");
  put(folder, "cgroup.controllers", "cpu memory pids\n");
  put(folder, "cgroup.procs");
  put(folder, "orch/c1/cgroup.procs", "7\n");
  put(folder, "orch/c1/init/cgroup.procs", "12\n9\n");
  put(folder, "orch/c1/init/deep/cgroup.procs", "3\n7\n");
  Cgroups cgroups(folder.path().cStr(), "/orch");
  CHECK(cgroups.allProcesses("c1") == std::vector<int>{3, 7, 9, 12});
  CHECK(cgroups.allProcesses("c2").empty());
}

TEST_CASE("processes: a namespace's traffic is that of all devices but lo", "[runtime]") {
  auto sum = sumOfDevices(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
      "    lo:    5000      1    0    0    0     0          0         0   5000       1    0\n"
      "  eth0:     100      1    0    0    0     0          0         0     20       1    0\n"
      "  eth1:       1      1    0    0    0     0          0         0      2       1    0\n");
  CHECK(sum.receivedBytes == 101);
  CHECK(sum.sentBytes == 22);
  CHECK(sumOfDevices("").receivedBytes == -1);
  CHECK(sumOfDevices("Inter-|\n    lo: 1 2 3 4 5 6 7 8 9 10\n").receivedBytes == 0);
}

TEST_CASE("processes: a user is named by the container's own list", "[runtime]") {
  std::string passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:7:\nalice:x:1000:1001::/:\n";
  CHECK(userNamed(passwd, 0) == "root");
  CHECK(userNamed(passwd, 1000) == "alice");
  CHECK(userNamed(passwd, 7) == "");
}

TEST_CASE("processes: facts are of those that are there", "[runtime]") {
  auto facts = factsOf({getpid(), 0x7fffffff});
  REQUIRE(facts.size() == 1);
  CHECK(facts[0].pid == getpid());
  CHECK(facts[0].parent == getppid());
  CHECK(facts[0].uid == getuid());
  CHECK_THAT(facts[0].command, Catch::Contains("orch_runtime_lib_test"));
}

}  // namespace
}  // namespace orch::runtime
