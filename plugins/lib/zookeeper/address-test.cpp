#include "zookeeper/address.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "zookeeper/answer.h"

namespace orch::zookeeper {
namespace {

TEST_CASE("zookeeper: a server is a host and a port", "[zookeeper]") {
  auto read = [](const char* text) {
    auto parsed = attemptNow([&] { return Server::parse(text); });
    if (!parsed.ok()) return std::string(parsed.message().cStr());
    return parsed.value().host + " " + std::to_string(parsed.value().port);
  };
  CHECK(read("127.0.0.1:2181") == "127.0.0.1 2181");
  CHECK(read("zk-1.example.com:21810") == "zk-1.example.com 21810");
  CHECK(read("[fd00::1]:2181") == "fd00::1 2181");
  CHECK(Server::parse("[fd00::1]:2181").text() == "[fd00::1]:2181");
  for (auto bad : {"", "10.0.0.1", "a:", ":1", "a:0", "a:65536", "a:1/x", "a b:1", "fd00::1:2181",
                   "a,b:1", "a:+1", "[]:1", "http://a:1", "u@a:1", "a\n:1"}) {
    INFO(bad);
    CHECK(read(bad).find("' is no address of a ZooKeeper; accepted: host:port, as 10.0.0.1:2181") !=
          std::string::npos);
  }
  CHECK(namesOf({Server{"a", 1}, Server{"::1", 2}}) == "'a:1', '[::1]:2'");
}

TEST_CASE("zookeeper: a transaction knows about how large it is", "[zookeeper]") {
  Multi multi;
  auto empty = multi.bytes();
  multi.create("/a", std::string(1000, 'v')).remove("/bb");
  CHECK(multi.bytes() >= empty + 1000 + 5);
  CHECK(multi.bytes() < 2000);
  CHECK(isLost(Code::LOST));
  CHECK(!isLost(Code::NO_NODE));
  CHECK(textOf(Code::NO_NODE) == "no node");
}

}  // namespace
}  // namespace orch::zookeeper
