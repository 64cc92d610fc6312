#include "answer.h"

#include <catch2/catch.hpp>

#include "lib/testing/entry-text.h"

namespace orch::discovery::token {
namespace {

std::string read(kj::StringPtr json) {
  return entriesText([&] { return readAnswer(json); });
}

TEST_CASE("token: classic's answers and ours are read, others refused as a whole", "[discovery]") {
  CHECK(read("[]") == "");
  CHECK(read(R"(["10.0.0.2:2375","10.0.0.1:2375","10.0.0.2:2375"])") ==
        "10.0.0.1:2375 10.0.0.2:2375");
  CHECK(read(R"([{"address":"10.0.0.1:1","role":"manager","clusterDigest":"d:1","nodeId":"n"}])") ==
        "10.0.0.1:1/manager/n/d:1");
  CHECK(read(R"([{"address":"H:1","role":"king","nodeId":"a\"b","more":7}])") == "h:1");
  for (auto bad : {"", "null", "{}", "7", "[", "[7]", "[null]", "[[]]", "[{}]", R"(["10.0.0.1"])",
                   R"(["10.0.0.[1:9]:1"])", R"(["10.0.0.1:1","x"])", "<html>", "[\"a:1\"] x"}) {
    INFO(bad);
    CHECK(read(bad).starts_with("! answers "));
  }
  CHECK(read(kj::str("[", kj::repeat('[', 100'000))).starts_with("! answers what is no list"));
}

TEST_CASE("token: a registration says address and time, and what else is known", "[discovery]") {
  capnp::MallocMessageBuilder message;
  auto entry = message.initRoot<schema::DiscoveryEntry>();
  entry.setAddress("10.0.0.1:1");
  CHECK(registrationQuery(entry.asReader(), 1001) == "?ttl=2");
  entry.setRole(schema::DiscoveryEntry::Role::WORKER);
  entry.setClusterDigest("ab:1");
  entry.setNodeId("n1");
  CHECK(registrationQuery(entry.asReader(), 180'000) == "?ttl=180&role=worker&digest=ab:1&node=n1");
  CHECK_NOTHROW(checkEntry(entry.asReader(), 180'000));
  entry.setNodeId("n 1");
  CHECK_THROWS(checkEntry(entry.asReader(), 180'000));
  entry.setNodeId("");
  entry.setClusterDigest("a&ttl=1");
  CHECK_THROWS(checkEntry(entry.asReader(), 180'000));
}

}  // namespace
}  // namespace orch::discovery::token
