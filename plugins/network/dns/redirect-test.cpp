// The way of a question from port 53 of 127.0.0.11 to us, and what else is in a task's namespace.
#include <catch2/catch.hpp>
#include <errno.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "task-end.h"
#include "test-node.h"

namespace orch::network::dns {
namespace {

using Names = std::vector<std::string>;
constexpr Ipv4 ADDRESSED = 0x7f00000b;  // 127.0.0.11

// The connections that the kernel tracks there.
std::string trackedIn(const TestTask& task) {
  std::string text;
  inNamespace(task.path().c_str(), [&] {
    std::ifstream file("/proc/thread-self/net/nf_conntrack");
    text.assign(std::istreambuf_iterator<char>(file), {});
  });
  return text;
}

// Of our socket there; `table` is udp or tcp, in /proc/net.
uint16_t portIn(const TestTask& task, const std::string& table) {
  std::string text;
  inNamespace(task.path().c_str(), [&] {
    std::ifstream file("/proc/thread-self/net/" + table);
    text.assign(std::istreambuf_iterator<char>(file), {});
  });
  const std::string address = "0B00007F:";
  auto found = text.find(address);
  KJ_REQUIRE(found != std::string::npos, text.c_str());
  return std::stoul(text.substr(found + address.size(), 4), nullptr, 16);
}

// A table of the task's own, which has connections tracked.
void commitIn(const TestTask& task, NftBatch& batch) {
  inNamespace(task.path().c_str(), [&] { batch.commit(); });
}

// The errno of a question that nobody answers.
int refusalByUdp(const TestTask& task) {
  auto fd = task.client();
  auto query = queryOf("web");
  KJ_REQUIRE(send(fd, query.data(), query.size(), 0) == ssize_t(query.size()));
  char byte;
  return recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}
int refusalByTcp(const TestTask& task) {
  return connectTo(socketIn(task.path()), "127.0.0.11", 53);
}

TEST_CASE("dns: a task may have a server of its own at port 53", "[network][root][netns]") {
  TestNode node("port");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  TestServer own("0.0.0.0", task.path());
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
  CHECK(read(task.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  CHECK_FALSE(own.wasAsked());
  for (auto address : {"127.0.0.1", "10.0.1.11"}) {
    auto query = queryOf("own"), answer = answerOf(query, {"1.2.3.4"}, 20);
    auto fd = socketIn(task.path(), true);
    REQUIRE(connectTo(fd, address, 53) == 0);
    REQUIRE(send(fd, query.data(), query.size(), 0) == ssize_t(query.size()));
    REQUIRE(own.question() == query);
    own.answer(answer);
    CHECK(receive(fd) == answer);
    auto stream = socketIn(task.path());
    REQUIRE(connectTo(stream, address, 53) == 0);
    query.insert(query.begin(), {0, uint8_t(query.size())});
    REQUIRE(send(stream, query.data(), query.size(), 0) == ssize_t(query.size()));
    CHECK(own.questionByTcp() == queryOf("own"));
  }
}

TEST_CASE("dns: a task's own server at port 53 may ask from there", "[network][root][netns]") {
  TestNode node("from-port");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  auto fd = serverIn(task.path(), 53, true);
  REQUIRE(connectTo(fd, "127.0.0.11", 53) == 0);
  auto query = queryOf("web");
  REQUIRE(send(fd, query.data(), query.size(), 0) == ssize_t(query.size()));
  CHECK(read(receive(fd)).found == Names{"10.0.1.2"});
}

TEST_CASE("dns: a question that was put together of parts is answered", "[network][root][netns]") {
  TestNode node("parts");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  auto fd = task.client();
  auto query = queryOf("web");
  // Its checksum is computed by the sender, as of no other packet on lo.
  REQUIRE(send(fd, query.data(), 10, MSG_MORE) == 10);
  REQUIRE(send(fd, query.data() + 10, query.size() - 10, 0) == ssize_t(query.size() - 10));
  CHECK(read(receive(fd)).found == Names{"10.0.1.2"});
}

TEST_CASE("dns: no connection of a task is tracked for its names", "[network][root][netns]") {
  TestNode node("untracked");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  TestServer own("0.0.0.0", task.path());
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
  CHECK(read(task.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  CHECK(connectTo(socketIn(task.path()), "10.0.1.11", 53) == 0);
  CHECK(trackedIn(task) == "");
}

TEST_CASE("dns: a task's own rules see port 53, and one connection", "[network][root][netns]") {
  TestNode node("firewall");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  NftBatch batch("own");
  batch.addTable();
  batch.addChain("early", {"filter", NftPoint::OUTPUT, -300});
  batch.addChain("input", {"filter", NftPoint::INPUT, 0});
  batch.addChain("output", {"filter", NftPoint::OUTPUT, 0});
  batch.addRule("output", NftRule().sourceIn({ADDRESSED, 32}).isNew().drop());
  for (auto table : {"udp", "tcp"}) {
    auto port = portIn(task, table);
    for (auto chain : {"early", "input", "output"}) {
      batch.addRule(chain, NftRule().sourcePortIs(port).drop());
      batch.addRule(chain, NftRule().destinationPortIs(port).drop());
    }
  }
  commitIn(task, batch);
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
  CHECK(read(task.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  CHECK(trackedIn(task).find("dport=53") != std::string::npos);
}

TEST_CASE("dns: without orchd a task is refused at once", "[network][root][netns]") {
  TestNode node("refused");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  node.crash();
  CHECK(refusalByUdp(task) == ECONNREFUSED);
  CHECK(refusalByTcp(task) == ECONNREFUSED);
  // Also beside a server of its own, which is not asked.
  TestServer own("0.0.0.0", task.path());
  CHECK(refusalByUdp(task) == ECONNREFUSED);
  CHECK(refusalByTcp(task) == ECONNREFUSED);
  CHECK_FALSE(own.wasAsked());
}

TEST_CASE("dns: rules of an earlier version are replaced", "[network][root][netns]") {
  TestNode node("earlier");
  TestTask task(node.sub("one"));
  NftBatch nat(TABLE);
  nat.addTable().addChain("output", {"nat", NftPoint::OUTPUT, -100});
  for (uint8_t protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    NftRule rule;
    rule.destinationIn({ADDRESSED, 32}).protocolIs(protocol).destinationPortIs(53);
    nat.addRule("output", rule.loadAddress(ADDRESSED, R1).loadPort(1, R2).dnatTo(R1, R2));
  }
  commitIn(task, nat);
  CHECK(refusalByTcp(task) == ECONNREFUSED);
  CHECK(trackedIn(task) == "");  // the kernel forgets what was refused
  node.tell(mynet());
  node.serve(task);
  CHECK(task.chains() == Names{"input", "output"});
  CHECK(node.check() == 0);
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
  CHECK(read(task.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  CHECK(trackedIn(task) == "");
}

TEST_CASE("dns: rules that somebody took away are found and put back", "[network][root][netns]") {
  TestNode node("check");
  TestTask task(node.sub("one")), other(node.sub("two"));
  node.tell(mynet());
  node.serve(task);
  node.serve(other, {"n1"}, {}, "other");
  CHECK(node.check() == 0);
  for (kj::StringPtr what : {"input"_kj, "output"_kj, ""_kj}) {
    inNamespace(task.path().c_str(), [&] {
      NftBatch batch(TABLE);
      what.size() > 0 ? batch.deleteRules(what) : batch.deleteTable();
      batch.commit();
    });
    CHECK(node.check() == 1);
    CHECK(node.repair() == 1);
    CHECK(node.check() == 0);
    CHECK(task.ask("web").found == Names{"10.0.1.2"});
  }
}

}  // namespace
}  // namespace orch::network::dns
