// Whether nodes have what the state says of networks, as `cluster` asks them.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/test-networks.h"

namespace orch::control::manager {

void ScriptedNode::answerCheck(schema::Agent::CheckNetworksParams::Reader params,
                               schema::Agent::CheckNetworksResults::Builder results) {
  static constexpr kj::StringPtr KINDS[] = {"task"_kj,   "network"_kj, "secret"_kj,  "config"_kj,
                                            "volume"_kj, "peer"_kj,    "service"_kj, "node"_kj};
  auto kinds = KJ_MAP(one, params.getExpected()) { return KINDS[size_t(one.which())]; };
  checked = kj::str(params.getNetwork(), params.getRepair() ? " repair: " : ": ",
                    kj::strArray(kinds, ", "))
                .cStr();
  results.setThings(10);
  bool toldLess = untold > 0;
  if (toldLess) --untold;
  results.setUntold(toldLess);
  auto list = results.initFindings(wrong.size() + (toldLess ? 1 : 0));
  for (size_t i = 0; i < wrong.size(); ++i) {
    auto& [network, object, expected, found] = wrong[i];
    list[i].setNetwork(network.c_str());
    list[i].setObject(object.c_str());
    list[i].setExpected(expected.c_str());
    list[i].setFound(found.c_str());
    list[i].setRepaired(params.getRepair());
  }
  if (toldLess) list[wrong.size()].setObject("peer web.9, as told");
  if (params.getRepair() || forgetsWrong) wrong.clear();
}

namespace {

using Lines = std::vector<std::string>;

struct CheckFixture : NetworkFixture {
  CheckFixture() {
    id = make("front");
    create(on("front", 2));
    settle();
  }
  // "host-node1 front object: expected, found", " repaired", and what is missing; the error.
  Lines check(const std::string& network = "", bool repair = false,
              kj::Duration time = 0 * kj::SECONDS) {
    auto request = control.checkNetworksRequest();
    request.setId(network.c_str());
    request.setRepair(repair);
    auto sent = attempt(request.send()).promise();
    settle();
    if (time > 0 * kj::SECONDS) advance(time);
    auto outcome = sent.wait(world.waitScope());
    if (!outcome.ok()) return {plainText(outcome.error()).cStr()};
    nodes = outcome.value().getNodes();
    things = outcome.value().getThings();
    Lines lines;
    for (auto one : outcome.value().getFindings()) {
      lines.push_back(kj::str(one.getNode(), " ", one.getNetwork(), " ", one.getObject(), ": ",
                              one.getExpected(), ", ", one.getFound(),
                              one.getRepaired() ? " repaired" : "")
                          .cStr());
    }
    for (auto text : outcome.value().getMissing())
      lines.push_back(kj::str("missing ", text).cStr());
    return lines;
  }
  std::string id;
  uint32_t nodes = 0, things = 0;
};

TEST_CASE("network check: every node is asked, with all that it should have been told",
          "[manager]") {
  CheckFixture cluster;
  CHECK(cluster.check() == Lines{});
  CHECK(cluster.nodes == 2);
  CHECK(cluster.things == 20);
  CHECK(cluster.one->checked == ": network, service, peer, peer");
  CHECK(cluster.two->checked == ": network, service, peer, peer");
  CHECK(cluster.check("front", true) == Lines{});
  CHECK(cluster.one->checked == cluster.id + ": network, service, peer, peer");
  CHECK(cluster.check("bridge") == Lines{});
  CHECK(cluster.one->checked == "bridge: network, service, peer, peer");
  CHECK(cluster.check("nowhere")[0].find("no network 'nowhere'") == 0);
}

TEST_CASE("network check: what is found is told by the names that users know", "[manager]") {
  CheckFixture cluster;
  auto address = cluster.addresses()[1];
  address = address.substr(0, address.find('/'));
  auto listed = cluster.tasks("web");
  std::string task = listed.getTasks()[0].getMeta().getId().cStr();
  cluster.two->wrong = {{cluster.id, "forwarding entry of " + address, "host 192.168.0.1", ""},
                        {cluster.id, "virtual address " + cluster.virtualAddress(), "on lo", ""},
                        {cluster.id, "port of task " + task, "up", "down"},
                        {"", "table ip orch-ingress", "", "others"}};
  CHECK(cluster.check("", false, 2 * kj::SECONDS) ==
        Lines{"host-node2 front forwarding entry of " + address + " (web.2): host 192.168.0.1, ",
              "host-node2 front virtual address " + cluster.virtualAddress() + " (web): on lo, ",
              "host-node2 front port of task web.1: up, down",
              "host-node2  table ip orch-ingress: , others"});
  auto repaired = cluster.check("", true, 2 * kj::SECONDS);
  CHECK(cluster.two->checked == " repair: network, service, peer, peer");
  REQUIRE(repaired.size() == 4);
  for (auto& line : repaired) CHECK_THAT(line, Catch::EndsWith(" repaired"));
  CHECK(cluster.check() == Lines{});
}

TEST_CASE("network check: a node that is away or does not answer is named", "[manager]") {
  CheckFixture cluster;
  cluster.one->answersChecks = false;
  CHECK(cluster.check("", false, 25 * kj::SECONDS).size() == 1);
  CHECK(cluster.nodes == 1);
  cluster.one->answersChecks = true;
  cluster.two->cut();
  cluster.settle();
  auto lines = cluster.check();
  REQUIRE(lines.size() == 1);
  CHECK(lines[0] == "missing host-node2: it has no session with the manager");
}

TEST_CASE("network check: what is as it should be a moment later is not told", "[manager]") {
  CheckFixture cluster;
  cluster.two->wrong = {{"", "neighbour 10.0.0.5", "present", ""}};
  cluster.two->forgetsWrong = true;
  CHECK(cluster.check("", false, 2 * kj::SECONDS) == Lines{});
}

TEST_CASE("network check: what is on its way is waited for, and what never came is told again",
          "[manager]") {
  CheckFixture cluster;
  cluster.one->untold = 1;  // by the next question it has come
  CHECK(cluster.check("", false, 2 * kj::SECONDS) == Lines{});
  auto sets = cluster.one->completeSets;
  cluster.one->untold = 2;
  CHECK(cluster.check("", false, 2 * kj::SECONDS) == Lines{"host-node1  peer web.9, as told: , "});
  CHECK(cluster.one->completeSets == sets);
  cluster.one->untold = 2;
  CHECK(cluster.check("", true, 2 * kj::SECONDS) ==
        Lines{"host-node1  peer web.9, as told: ,  repaired"});
  CHECK(cluster.one->completeSets == sets + 1);
}

}  // namespace
}  // namespace orch::control::manager
