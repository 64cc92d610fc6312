// What the next orchd finds, and what one leaves behind.
#include <catch2/catch.hpp>

#include "lib/nft-batch.h"
#include "lib/record-files.h"
#include "lib/rtnetlink.h"
#include "node-test.h"

namespace orch::network::ingress {
namespace {

TEST_CASE("ingress: the next orchd leads to other nodes before it is told of them",
          "[network][root][netns]") {
  TestNode node("untold");
  node.run();
  OtherHost host(node);
  node.tell(NODE_ADDRESS, {other(1)});
  auto device = Rtnetlink().link("orch-mesh")->index;
  node.crash();
  CHECK(isLed(node, "tcp-8080"));
  CHECK_NOTHROW(serverIn("", 8080));
  node.run();
  CHECK(isLed(node, "tcp-8080"));
  CHECK(Rtnetlink().link("orch-mesh")->index == device);
  CHECK_THROWS(serverIn("", 8080));

  node.tell(NODE_ADDRESS, {}, {}, true);
  CHECK_FALSE(isLed(node, "tcp-8080"));
  CHECK_NOTHROW(serverIn("", 8080));
  node.crash();
  node.run();
  CHECK_FALSE(isLed(node, "tcp-8080"));
}

TEST_CASE("ingress: a damaged record of another node is told of and done without",
          "[network][root][netns]") {
  TestNode node("damaged");
  node.run();
  OtherHost host(node);
  node.tell(NODE_ADDRESS, {other(1), {"n3", "192.168.50.101", {{9090, 1}}}});
  node.crash();
  writeRecordFile(node.layout().others(), "n2", "orch-mesh-node 1\naddress");
  node.run();
  CHECK(node.logLines() == std::vector<std::string>{"warn network.record-unusable"});
  CHECK_FALSE(isLed(node, "tcp-8080"));
  CHECK(isLed(node, "tcp-9090"));
  node.tell(NODE_ADDRESS, {other(1)});
  CHECK(isLed(node, "tcp-8080"));

  node.crash();
  writeRecordFile(node.layout().mesh(), "self", "");
  node.run();
  CHECK(node.logLines().size() == 2);
  CHECK_FALSE(isLed(node, "tcp-8080"));
  node.tell(NODE_ADDRESS, {other(1)});
  CHECK(isLed(node, "tcp-8080"));
}

TEST_CASE("ingress: an orchd that stops leaves what leads to tasks of this node or of others",
          "[network][root][netns]") {
  TestNode node("stops");
  node.run();
  OtherHost host(node);
  auto one = node.publishActive("one", {{80, 8080}});
  auto server = serverIn(one.path, 80);
  node.tell(NODE_ADDRESS, {other(1)});
  node.withdraw("one");
  node.stop();
  CHECK(Rtnetlink().link("orch-mesh"));
  CHECK(isLed(node, "tcp-8080"));
  node.crash();

  node.run();
  CHECK(isLed(node, "tcp-8080"));
  node.tell(NODE_ADDRESS, {{"n2", OTHER_ADDRESS, {}}});
  node.stop();
  CHECK_FALSE(Rtnetlink().link("orch-mesh"));
  CHECK_FALSE(nftTableExists("orch-ingress"));
}

}  // namespace
}  // namespace orch::network::ingress
