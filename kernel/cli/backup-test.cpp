#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "recording-server.h"

namespace orch::cli {
namespace {

std::string contentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

size_t filesBeside(const std::string& path) {
  size_t count = 0;
  for (auto& each : std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()))
    count += each.path().filename().string().find("backup") != std::string::npos;
  return count;
}

TEST_CASE("cli: a backup is a file of its owner's, or none at all", "[cli]") {
  RecordingServer server;
  auto path = server.tryPath("cluster.backup");
  auto ran = server.run({"cluster", "backup", path});
  CHECK(ran.errors == "");
  REQUIRE(ran.status == 0);
  CHECK(has(ran.out, "Cluster 'default', as it was at "));
  CHECK(has(ran.out, ": 1 objects, "));
  CHECK(has(ran.out, "It has the keys of the cluster: keep it where nobody else reads it.\n"));
  CHECK(contentOf(path) == smallBackup());
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(filesBeside(path) == 1);

  // The one that is there stays when another one is not whole.
  server.backups.tornBackup = true;
  ran = server.run({"cluster", "backup", path});
  CHECK(ran.status == 1);
  CHECK(has(ran.errors, "cannot use the backup '" + path + "': it is not whole"));
  CHECK(contentOf(path) == smallBackup());
  CHECK(filesBeside(path) == 1);
  ran = server.run({"cluster", "backup", server.tryPath("nosuch/backup")});
  CHECK(ran.status == 1);
  CHECK(has(ran.errors, "cannot write '"));
}

TEST_CASE("cli: a backup is sent to be restored if it is whole", "[cli]") {
  RecordingServer server;
  auto path = server.tryPath("cluster.backup");
  std::ofstream(path, std::ios::binary) << smallBackup();
  auto ran = server.run({"cluster", "restore", "--advertise-addr", "10.0.0.2", path});
  CHECK(ran.errors == "");
  CHECK(ran.status == 0);
  CHECK(has(ran.out, "This node is the manager of cluster 'default', as it was at "));
  CHECK(has(ran.out, "Its workers are called to 10.0.0.2:2377; "));
  CHECK(server.backups.asked == "restore 10.0.0.2");
  CHECK(server.backups.restored == smallBackup());

  server.backups.asked.clear();
  auto torn = smallBackup();
  torn[torn.size() / 2] ^= 1;
  std::ofstream(path, std::ios::binary) << torn;
  ran = server.run({"cluster", "restore", path});
  CHECK(ran.status == 1);
  CHECK(has(ran.errors, "cannot use the backup '" + path + "': "));
  CHECK(server.backups.asked == "");
  ran = server.run({"cluster", "restore", server.tryPath("nosuch")});
  CHECK(ran.status == 1);
  CHECK(has(ran.errors, "cannot read '"));
}

TEST_CASE("cli: the cluster's status is told in lines", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"cluster", "status"});
  CHECK(ran.errors == "");
  INFO(ran.out);
  CHECK(has(ran.out, "Cluster: default\nLeader: n1\n Since: "));
  CHECK(has(ran.out,
            " Epoch: 3\nAsked: n2, which follows\nManagers: 2\n"
            " Can be lost: 1 manager\n"
            "HOSTNAME   ADDRESS         STATUS      BEHIND    REASON\n"
            "n1         10.0.0.1:2377   Leader\n"
            "n2         10.0.0.2:2377   Reachable   4ms\n"
            "Store: store.etcd\n Answers in: 1ms\nState: 7 objects, 4.2kB\n Revision: 99\n"));
  CHECK(server.run({"cluster", "status", "--format", "{{.Store.Name}} {{.CanLose}}"}).out ==
        "store.etcd 1\n");
  CHECK(has(server.run({"cluster", "status", "--json"}).out, "\"leader\": \"n1\""));
}

TEST_CASE("cli: without a leader, answers say how old they are", "[cli]") {
  RecordingServer server;
  server.backups.unled = true;
  auto ran = server.run({"cluster", "status"});
  CHECK(ran.status == 0);
  CHECK(has(ran.out,
            "Leader: none: the store 'store.etcd' does not answer\n"
            " Changes are refused, tasks run on\n What can be read is as of 1"));
  CHECK(has(ran.out, " Problem: etcd at http://10.0.0.1:2379 does not answer\n"));
  CHECK(has(ran.errors, "orch: as of 1"));
  CHECK(has(ran.errors,
            " seconds ago: no manager leads the cluster (the store 'store.etcd' does not answer)"));
  ran = server.run({"node", "ls", "--quiet"});
  CHECK(ran.status == 0);
  CHECK(ran.out == "n1aaaaaaaaaa\n");
  CHECK(has(ran.errors, "orch: as of 1"));
  // What fails says why itself.
  server.refusal = "no manager leads the cluster";
  ran = server.run({"service", "rm", "web"});
  CHECK(ran.errors == "orch: no manager leads the cluster\n");
}

TEST_CASE("cli: a manager that is left alone goes on, if it is told to", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"init", "--force-new-cluster"});
  CHECK(ran.errors == "");
  CHECK(has(ran.out, "This node is the only manager now: it goes on with what it knew 1"));
  CHECK(has(ran.out, " seconds ago, in 'store.local' of its own.\n"));
  CHECK(has(ran.out, "Not of the cluster any more: n1. "));
  CHECK(server.backups.asked == "forceNew");
  ran = server.run({"init", "--force-new-cluster", "--name", "other"});
  CHECK(ran.status == 2);
  CHECK(has(ran.errors, "--name has no place beside --force-new-cluster"));
}

}  // namespace
}  // namespace orch::cli
