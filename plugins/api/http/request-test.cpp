#include "request.h"

#include <catch2/catch.hpp>

namespace orch::api::http {
namespace {

TEST_CASE("request: a target is a path and what stands behind its question mark", "[api]") {
  Request request;
  REQUIRE(readTarget("/v1/tasks/web%2e1?node=n%201&x&desired=running+now&&empty=", request));
  CHECK(request.path == "/v1/tasks/web.1");
  CHECK(request.query ==
        std::map<std::string, std::string>{
            {"node", "n 1"}, {"x", ""}, {"desired", "running now"}, {"empty", ""}});
  Request plain;
  REQUIRE(readTarget("/a+b", plain));
  CHECK(plain.path == "/a+b");
}

TEST_CASE("request: what is no target is refused", "[api]") {
  for (auto target :
       {"", "v1", "*", "http://a/", "/%", "/%4", "/%zz", "/a%00b", "/?%zz=1", "/?a=%4"}) {
    INFO(target);
    Request request;
    CHECK_FALSE(readTarget(target, request));
  }
}

TEST_CASE("request: a host is without its port, in small letters", "[api]") {
  CHECK(hostOf("Orch.Example.COM:8377") == "orch.example.com");
  CHECK(hostOf("127.0.0.1") == "127.0.0.1");
  CHECK(hostOf("[::1]:8377") == "::1");
  CHECK(hostOf("") == "");
}

TEST_CASE("request: a refusal is one line of JSON", "[api]") {
  auto answer = refusal(404, "no 'a\"b'\n");
  CHECK(answer.status == 404);
  CHECK(answer.type == "application/json");
  CHECK(answer.body == "{\"error\":\"no 'a\\\"b'\\n\"}\n");
}

}  // namespace
}  // namespace orch::api::http
