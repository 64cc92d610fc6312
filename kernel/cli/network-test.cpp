#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: the pools of a cluster's networks are given when it is made", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"init", "--default-addr-pool", "10.1.0.0/16", "--default-addr-pool",
                         "10.3.0.0/16", "--default-addr-pool-mask-length", "26"});
  CHECK(ran.status == 0);
  CHECK(server.lastPools == "10.1.0.0/16 10.3.0.0/16 / 26");
  CHECK(server.run({"init"}).status == 0);
  CHECK(server.lastPools == " / 0");
  server.lastPools = "";
  for (auto length : {"0", "7", "30", "300", "x", ""}) {
    auto refused = server.run({"init", "--default-addr-pool-mask-length", length});
    CHECK(refused.status == 2);
    CHECK(refused.errors ==
          std::string("orch: invalid value '") + length +
              "' for --default-addr-pool-mask-length: expected a whole number from 8 to 29\n");
  }
  CHECK(server.lastPools == "");
}

TEST_CASE("cli: a network is asked for as its flags say, or not at all", "[cli]") {
  RecordingServer server;
  auto made = server.run({"network", "create", "--internal", "--subnet", "10.1.0.0/24",
                          "--aux-address", "router=10.1.0.9", "--label", "team=a", "vault"});
  CHECK(made.status == 0);
  CHECK(server.calls == Words{"createNetwork vault internal 10.1.0.0/24 router=10.1.0.9 team=a"});
  server.calls.clear();
  auto dual =
      server.run({"network", "create", "--ipv6", "--subnet", "fd00:1::/64", "--subnet",
                  "10.1.0.0/24", "--gateway", "fd00:1::9", "--ip-range", "fd00:1:0:0:1::/80", "x"});
  CHECK(dual.status == 0);
  CHECK(server.calls ==
        Words{"createNetwork x ipv6 10.1.0.0/24 fd00:1::/64 fd00:1::9 fd00:1:0:0:1::/80"});
  server.calls.clear();
  auto twice =
      server.run({"network", "create", "--subnet", "10.1.0.0/24", "--subnet", "10.2.0.0/24", "x"});
  CHECK(twice.status == 2);
  CHECK(twice.errors ==
        "orch: invalid value '10.2.0.0/24' for --subnet: expected one of IPv4, and one of IPv6\n");
  auto local = server.run({"network", "create", "--scope", "local", "x"});
  CHECK(local.status == 2);
  CHECK(local.errors == "orch: invalid value 'local' for --scope: expected swarm\n");
  CHECK(server.run({"network", "create"}).status == 2);
  CHECK(server.run({"network", "create", "--ingress", "x"}).status == 2);
  CHECK(server.calls.empty());
}

TEST_CASE("cli: networks are listed by what they are, and by whether anybody is on them", "[cli]") {
  RecordingServer server;
  auto names = [&](const char* filter) {
    auto ran = server.run({"network", "ls", "--format", "{{.Name}}", "--filter", filter});
    CHECK(ran.errors == "");
    return ran.out;
  };
  CHECK(names("name=r") == "bridge\nfront\n");
  CHECK(names("driver=overlay") == "front\nvault\n");
  CHECK(names("scope=local") == "bridge\n");
  CHECK(names("id=w2") == "vault\n");
  CHECK(names("label=team") == "front\nvault\n");
  CHECK(names("label=team=a") == "front\n");
  CHECK(names("dangling=true") == "vault\n");
  CHECK(names("dangling=false") == "bridge\nfront\n");
  CHECK(has(server.run({"network", "ls", "--filter", "dangling=maybe"}).errors,
            "expected dangling=true|false"));
  CHECK(server.run({"network", "ls", "--format", "{{.Name}} {{.Internal}} {{.Labels}}"}).out ==
        "bridge false \nfront false team=a\nvault true team=b\n");
}

TEST_CASE("cli: a network that is inspected shows who is on it", "[cli]") {
  RecordingServer server;
  auto shown = server.run({"network", "inspect", "--pretty", "front"}).out;
  for (auto text : {"Services:\n  Name: web\n  Address: 10.0.1.2\n",
                    "Tasks:\n  Name: web.1\n  Address: 10.0.1.3/24\n  Node: node-1\n"}) {
    CHECK(has(shown, text));
  }
  CHECK(server.run({"network", "inspect", "--format", "{{(index .Tasks 0).Node}}", "front"}).out ==
        "node-1\n");
}

TEST_CASE("cli: a prune asks first, and then for no network of the nodes' own", "[cli]") {
  RecordingServer server;
  auto asked = server.run({"network", "prune"});
  CHECK(asked.status == 1);
  CHECK(has(asked.errors, "nothing was removed: answer y, or give --force"));
  CHECK(server.calls.empty());
  CHECK(server.run({"network", "prune", "--force"}).out == "vault\n");
  CHECK(server.calls == Words{"pruneNetworks w1aaaaaaaaaaaaaaaaaaaaaaa w2aaaaaaaaaaaaaaaaaaaaaaa"});
  server.calls.clear();
  server.run({"network", "prune", "--force", "--filter", "label=team=b"});
  CHECK(server.calls == Words{"pruneNetworks w2aaaaaaaaaaaaaaaaaaaaaaa"});
}

TEST_CASE("cli: a check says what is not as it should be, and that by its status", "[cli]") {
  RecordingServer server;
  auto clean = server.run({"net", "check"});
  CHECK(clean.out == "all 40 things on 2 nodes are as they should be\n");
  CHECK(clean.status == 0);
  auto found = server.run({"network", "check", "front"});
  CHECK(found.status == 1);
  CHECK(found.out ==
        "NODE      NETWORK   OBJECT                       EXPECTED            FOUND\n"
        "node-2    front     neighbour 10.0.1.3 (web.1)   02:42:0a:00:01:03   nothing\n"
        "1 of 40 things on 2 nodes are not as they should be; 'orch network check --repair' puts "
        "them right\n");
  CHECK(found.errors == "orch: warning: not all is known of node node-3: it is away\n");
  auto repaired = server.run({"net", "check", "front", "--repair"});
  CHECK(repaired.status == 0);
  CHECK(has(repaired.out, "1 of 40 things on 2 nodes were not as they should be; they are now\n"));
  CHECK(has(repaired.out, "REPAIRED"));
  CHECK(server.calls ==
        Words{"checkNetworks ", "checkNetworks front", "checkNetworks front repair"});
}

TEST_CASE("cli: what cannot be traced is refused, and nothing is asked", "[cli]") {
  RecordingServer server;
  for (auto target : {"web:0", "web:x", "web:", ":65536", ":80/icmp", ":80/udp/tcp"}) {
    auto refused = server.run({"network", "trace", target});
    CHECK(refused.status == 2);
    CHECK(
        has(refused.errors, kj::str("invalid value '", target, "' for TARGET: expected a service ",
                                    "as web:80, or a published port as :8080 or :53/udp")
                                .cStr()));
  }
  CHECK(server.run({"network", "trace"}).status == 2);
  CHECK(has(server.run({"network", "trace", ":9"}).errors, "no service publishes the port 9/tcp"));
  CHECK(server.calls.empty());
}

TEST_CASE("cli: a check for scripts prints a template, JSON, or nothing", "[cli]") {
  RecordingServer server;
  CHECK(server.run({"net", "check", "front", "--format", "{{.Node}} {{.Found}}"}).out ==
        "node-2 nothing\n");
  CHECK(server.run({"net", "check", "--format", "{{.Node}}"}).out == "");
  auto json = server.run({"net", "check", "front", "--json"});
  CHECK(json.status == 1);
  CHECK(has(json.out, "\"object\": \"neighbour 10.0.1.3 (web.1)\""));
  auto quiet = server.run({"net", "check", "front", "-q"});
  CHECK(quiet.status == 1);
  CHECK(quiet.out == "");
  CHECK(server.run({"net", "check", "-q"}).status == 0);
  CHECK(server.run({"net", "check", "a", "b"}).status == 2);
}

}  // namespace
}  // namespace orch::cli
