#include "consul/services.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::consul {
namespace {

TEST_CASE("consul: a service is written to the letter, with what is set of its checks",
          "[consul-client]") {
  RegisteredService service{"n1:web:80", "web", "10.0.0.1", 8080, {"a", "b,c"}, {{"region", "us"}}};
  CHECK(registrationText(service, {}) ==
        R"({"ID":"n1:web:80","Name":"web","Address":"10.0.0.1","Port":8080,)"
        R"("Tags":["a","b,c"],"Meta":{"region":"us"}})");
  ServiceCheck http{.http = "http://10.0.0.1:8080/", .method = "HEAD", .interval = "10s"};
  ServiceCheck ttl{.id = "t", .ttl = "30s", .status = "passing", .deregisterAfter = "1m"};
  ServiceCheck grpc{.grpc = "10.0.0.1:1", .grpcTls = true, .trustAll = true};
  CHECK(checksText({http, ttl, grpc}) ==
        R"([{"HTTP":"http://10.0.0.1:8080/","Method":"HEAD","Interval":"10s"},)"
        R"({"CheckID":"t","TTL":"30s","Status":"passing","DeregisterCriticalServiceAfter":"1m"},)"
        R"({"GRPC":"10.0.0.1:1","GRPCUseTLS":true,"TLSSkipVerify":true}])");
  CHECK(checksText({ServiceCheck{.args = {"/bin/sh", "-c", "true"}}}) ==
        R"([{"Args":["/bin/sh","-c","true"]}])");
}

TEST_CASE("consul: services are read as an agent writes them", "[consul-client]") {
  auto services = readServices(
      R"({"n1:web:80":{"ID":"n1:web:80","Service":"web","Tags":["a"],"Meta":{"orch-node":"x"},)"
      R"("Port":8080,"Address":"10.0.0.1","Weights":{"Passing":1,"Warning":1},)"
      R"("EnableTagOverride":false},"other":{"ID":"other","Service":"other","Tags":null}})");
  REQUIRE(services.size() == 2);
  CHECK(services[0] ==
        RegisteredService{"n1:web:80", "web", "10.0.0.1", 8080, {"a"}, {{"orch-node", "x"}}});
  CHECK(services[1] == RegisteredService{"other", "other", "", 0, {}, {}});
  CHECK(readServices("{}").empty());
  CHECK(readService(R"({"ID":"a","Service":"b"})").name == "b");
  for (auto text : {"", "[]", "7", "{", R"({"a":7})", R"({"a":{"Port":"x"}})",
                    R"({"a":{"Tags":{}}})", R"({"a":{"Meta":[]}})", R"({"a":{"Meta":{"b":7}}})"}) {
    CAPTURE(text);
    auto outcome = attemptNow([&] { readServices(text); });
    REQUIRE_FALSE(outcome.ok());
    CHECK(outcome.message().startsWith("answers "));
  }
}

TEST_CASE("consul: services of any node are read as its catalog writes them", "[consul-client]") {
  CHECK(readNodes(R"([{"ID":"x","Node":"n1","Address":"10.0.0.1"},{"Node":"n2"}])") ==
        std::vector<std::string>{"n1", "n2"});
  CHECK(readNodeServices("null").empty());
  auto services = readNodeServices(
      R"({"Node":{"Node":"n1"},"Services":{"a":{"ID":"a","Service":"web","Tags":[],"Address":"",)"
      R"("Meta":null,"Port":7}}})");
  REQUIRE(services.size() == 1);
  CHECK((services[0].id == "a" && services[0].name == "web" && services[0].port == 7));
  CHECK(nodeServiceText("n", "10.0.0.1", {"a", "web", "10.0.0.2", 7, {}, {}}) ==
        R"({"Node":"n","Address":"10.0.0.1","SkipNodeUpdate":true,"Service":{"ID":"a",)"
        R"("Service":"web","Address":"10.0.0.2","Port":7,"Tags":[],"Meta":{}}})");
  CHECK(deregistrationText("n1", "a:80") == R"({"Node":"n1","ServiceID":"a:80"})");
  CHECK_THROWS(readNodes("{}"));
  CHECK_THROWS(readNodes("[7]"));
  CHECK_THROWS(readNodeServices("[]"));
}

TEST_CASE("consul: what it would not take of a service's meta is known before", "[consul-client]") {
  CHECK((isMetaKey("check_http") && isMetaKey("orch-node") && isMetaKey(std::string(128, 'a'))));
  CHECK((!isMetaKey("") && !isMetaKey("a.b") && !isMetaKey(std::string(129, 'a'))));
  CHECK((isMetaValue(std::string(512, 'a')) && !isMetaValue(std::string(513, 'a'))));
}

}  // namespace
}  // namespace orch::consul
