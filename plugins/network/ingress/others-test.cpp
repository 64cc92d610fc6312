// What was told of other nodes: books and records, without a kernel.
#include "others.h"

#include <catch2/catch.hpp>
#include <netinet/in.h>

#include "lib/record-files.h"
#include "orch/testing/test-host.h"

namespace orch::network::ingress {
namespace {

const PortKey HTTP{IPPROTO_TCP, 8080};
const PortKey NAMES{IPPROTO_UDP, 53};
const Ipv4 HERE = 0xc0a8000a;
const Ipv4 THERE = 0xc0a80002;

MeshNews newsFrom(std::map<std::string, OtherNode> nodes, std::vector<std::string> gone = {}) {
  return {false, {HERE, {{0xac1e0000, 16}}}, std::move(nodes), std::move(gone)};
}

bool equal(const FlowsTo& a, const FlowsTo& b) {
  return a.server == b.server && a.protocol == b.protocol && a.led == b.led;
}

TEST_CASE("ingress: what was told is read as it was written, whole or not at all", "[network]") {
  OtherNode node{THERE, {{HTTP, 2}, {NAMES, 1}}};
  MeshFacts facts{HERE, {{0xac1e0000, 16}, {0x0a000000, 8}}};
  auto nodeText = encodeNode(node);
  auto factsText = encodeFacts(facts);
  CHECK(decodeNode(nodeText) == node);
  CHECK(decodeFacts(factsText) == facts);
  for (size_t size = 0; size + 1 < nodeText.size(); ++size) {
    CHECK_FALSE(decodeNode(nodeText.substr(0, size)));
  }
  for (size_t size = 0; size + 1 < factsText.size(); ++size) {
    CHECK_FALSE(decodeFacts(factsText.substr(0, size)));
  }
  CHECK_FALSE(decodeNode("orch-mesh-node 1\naddress 192.168.0.2\nport tcp 0 1\nend\n"));
  CHECK_FALSE(decodeNode("orch-mesh-node 1\naddress 192.168.0.2\nport tcp 80 -1\nend\n"));
  CHECK_FALSE(decodeNode("orch-mesh-node 1\nport tcp 80 1\nend\n"));
  CHECK_FALSE(decodeFacts("orch-mesh 1\naddress 192.168.0.2\ninside 10.0.0.0\nend\n"));
}

TEST_CASE("ingress: only records of what has changed are written", "[network]") {
  Others others;
  others.take(newsFrom({{"n2", {THERE, {{HTTP, 1}}}}, {"n3", {THERE + 1, {{HTTP, 1}}}}}));
  CHECK(others.takeChanged() == std::set<std::string>{"", "n2", "n3"});
  others.take(newsFrom({{"n2", {THERE, {{HTTP, 1}}}}, {"n3", {THERE + 1, {{HTTP, 2}}}}}));
  CHECK(others.takeChanged() == std::set<std::string>{"n3"});
  others.take(newsFrom({}, {"n2", "n4"}));
  CHECK(others.takeChanged() == std::set<std::string>{"n2"});
  Layout layout;
  layout.folder = "/run";
  CHECK(others.record(layout, "n2").text.empty());
  CHECK(others.record(layout, "n3").folder == "/run/others");
  CHECK_FALSE(others.record(layout, "").text.empty());
}

TEST_CASE("ingress: damaged records of other nodes are told of, and the others are read",
          "[network]") {
  testing::TestFolder folder("ingress-others");
  Layout layout;
  layout.folder = folder.path().cStr();
  Others before;
  before.take(newsFrom({{"n2", {THERE, {{HTTP, 1}}}}, {"n3", {THERE + 1, {{HTTP, 1}}}}}));
  readOthers(layout);  // makes the folders
  for (auto& name : before.takeChanged()) {
    auto record = before.record(layout, name);
    writeRecordFile(record.folder, record.name, record.text);
  }
  writeRecordFile(layout.others(), "n3", "orch-mesh-node 1\nadd");
  auto read = readOthers(layout);
  CHECK(read.damaged == std::vector<std::string>{"n3"});
  CHECK(read.facts == before.facts());
  Others after;
  after.adopt(std::move(read));
  CHECK(after.addresses() == std::set<Ipv4>{THERE});
  CHECK(after.takeChanged() == std::set<std::string>{"n3"});
}

TEST_CASE("ingress: what was led to a node that is gone, or has another address, is forgotten",
          "[network]") {
  Others others;
  CHECK(others.take(newsFrom({{"n2", {THERE, {{HTTP, 1}, {NAMES, 1}}}}})).empty());
  // A UDP client has no end of its connection.
  auto forget = others.take(newsFrom({{"n2", {THERE, {{HTTP, 1}}}}}));
  REQUIRE(forget.size() == 1);
  CHECK(equal(forget[0], {THERE, IPPROTO_UDP, true}));
  CHECK(others.take(newsFrom({{"n2", {THERE, {}}}})).empty());
  CHECK_FALSE(others.serve());

  forget = others.take(newsFrom({{"n2", {THERE + 1, {{HTTP, 1}}}}}));
  REQUIRE(forget.size() == 1);
  CHECK(equal(forget[0], {THERE, 0, true}));
  CHECK(others.addresses() == std::set<Ipv4>{THERE + 1});

  auto moved = newsFrom({});
  moved.facts.own = HERE + 1;
  forget = others.take(moved);
  REQUIRE(forget.size() == 1);
  CHECK(equal(forget[0], {THERE + 1, 0, true}));

  moved.complete = true;
  forget = others.take(moved);
  REQUIRE(forget.size() == 1);
  CHECK(equal(forget[0], {THERE + 1, 0, true}));
  CHECK(others.addresses().empty());
}

}  // namespace
}  // namespace orch::network::ingress
