// What is changed of nodes, and where the state goes.
#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: a drain is followed until nothing runs there", "[cli]") {
  RecordingServer server;
  auto say = [&](uint32_t left, uint32_t waiting, const char* problem = "",
                 schema::Node::Availability availability = schema::Node::Availability::DRAIN) {
    server.drain.push_back([=](schema::NodeProgress::Builder progress) {
      progress.setAvailability(availability);
      progress.setState(schema::Node::State::READY);
      progress.setLeft(left);
      progress.setWaiting(waiting);
      progress.setProblem(problem);
    });
  };
  Words drain = {"node", "update", "--availability", "drain", "--wait", "n2"};
  say(3, 2);
  say(3, 2, "task web.1: no suitable node");
  say(1, 1);
  say(1, 0);
  say(0, 0);
  auto ran = server.run(drain);
  CHECK(ran.status == 0);
  CHECK(ran.out ==
        "n2: 3 tasks are left, 2 wait for their turn\n"
        "problem: task web.1: no suitable node\n"
        "n2: 1 task is left, 1 waits for its turn\n"
        "n2: 1 task is left\nn2 is empty\n");
  server.drain.clear();
  say(2, 2, "", schema::Node::Availability::ACTIVE);
  ran = server.run(drain);
  CHECK(ran.status == 1);
  CHECK(ran.errors == "orch: node 'n2' is active again; somebody has changed it meanwhile\n");
  ran = server.run({"node", "update", "--availability", "pause", "--wait", "n2"});
  CHECK(ran.status == 2);
  CHECK(ran.errors.rfind("orch: --wait is for --availability drain\n", 0) == 0);
}

TEST_CASE("cli: nodes are promoted and demoted, each by itself", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"node", "promote", "n2", "n3"});
  CHECK(ran.status == 0);
  CHECK(ran.out ==
        "node 'n2' becomes a manager; 'orch cluster status' shows when it is one\n"
        "node 'n3' becomes a manager; 'orch cluster status' shows when it is one\n");
  CHECK(server.run({"node", "update", "--role", "worker", "n2"}).out == "n2\n");
  CHECK(server.run({"node", "demote", "n3"}).out ==
        "node 'n3' becomes a worker, and keeps its tasks\n");
  CHECK(server.calls == Words{"manager n2", "manager n3", "worker n2", "worker n3"});
  CHECK(server.run({"node", "update", "--role", "boss", "n2"}).status == 2);
  server.refusal = "no other manager is ready";
  ran = server.run({"node", "demote", "n1", "n2"});
  CHECK(ran.status == 1);
  CHECK(ran.errors == "orch: no other manager is ready\norch: no other manager is ready\n");
}

TEST_CASE("cli: the state moves to a store that is named", "[cli]") {
  RecordingServer server;
  CHECK(server.run({"cluster", "migrate", "--to", "store.etcd"}).out ==
        "The state of the cluster, 7 objects, is in 'store.etcd' from now on; changes waited for "
        "12 ms.\n");
  CHECK(server.run({"cluster", "migrate", "--to", "store.local"}).out ==
        "The state of the cluster is in 'store.local' already.\n");
  CHECK(server.run({"cluster", "migrate", "--to", "etcd://h1:2379,h2:2379/lab"}).out ==
        "The state of the cluster, 7 objects, is in 'store.etcd' from now on; changes waited for "
        "12 ms.\n");
  auto ran = server.run({"cluster", "migrate"});
  CHECK(ran.status == 2);
  CHECK(has(ran.errors, "say where: --to store.etcd"));
}

}  // namespace
}  // namespace orch::cli
