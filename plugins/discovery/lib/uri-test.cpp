#include "uri.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::discovery {
namespace {

std::string hub(std::string_view text) {
  auto parsed = attemptNow([&] { return parseHubUri(text); });
  if (!parsed.ok()) return std::string("! ") + parsed.message().cStr();
  auto& uri = parsed.value();
  return (uri.token.empty() ? uri.base : uri.cluster()) + " " + uri.named;
}
std::string bare(std::string_view text) {
  auto parsed = attemptNow([&] { return parseHub(text); });
  return parsed.ok() ? parsed.value().base + " " + parsed.value().named
                     : std::string("! ") + parsed.message().cStr();
}

TEST_CASE("uri: a scheme is what stands before ://", "[discovery]") {
  CHECK(splitUri("node://a:1,b:1").scheme == "node");
  CHECK(splitUri("node://a:1,b:1").rest == "a:1,b:1");
  CHECK(splitUri("NODES://a:1").scheme == "nodes");
  CHECK(splitUri("a:1,b:1").scheme.empty());
  CHECK(splitUri("a:1,b:1").rest == "a:1,b:1");
  CHECK(splitUri("").rest.empty());
}

TEST_CASE("uri: a token's leads where classic Swarm's client goes", "[discovery]") {
  CHECK(hub("token://hub.example/v1/abc") ==
        "https://hub.example/v1/clusters/abc token://hub.example/v1");
  CHECK(hub("token://hub.example:2380/a/b/abc") ==
        "https://hub.example:2380/a/b/clusters/abc token://hub.example:2380/a/b");
  CHECK(hub("token+http://10.0.0.1:2380/v1/abc") ==
        "http://10.0.0.1:2380/v1/clusters/abc token+http://10.0.0.1:2380/v1");
  CHECK(hub("token://[::1]:2380/v1/abc") ==
        "https://[::1]:2380/v1/clusters/abc token://[::1]:2380/v1");
  CHECK(hub("token://[::1]/v1/abc") == "https://[::1]/v1/clusters/abc token://[::1]/v1");
  // Ours: the path may be left out.
  CHECK(hub("token://hub.example/abc") ==
        "https://hub.example/v1/clusters/abc token://hub.example/v1");
  CHECK(hub("token://hub.example/v1/") == "https://hub.example/v1 token://hub.example/v1");
}

TEST_CASE("uri: the public hub of classic Swarm, which is shut, and nonsense are refused",
          "[discovery]") {
  CHECK(hub("token://6856663cdefdec325839a4b7e1de38e8")
            .starts_with("! 'token://6856663cdefdec325839a4b7e1de38e8' names no hub, and the "
                         "public one of docker is shut; accepted: token://host:port/v1/TOKEN"));
  for (auto bad : {"file:///a", "token:///v1/abc", "token://a:0/v1/abc", "token://a:1/v1/a?b",
                   "token://a:1/v1/a%2f", "token://a:1/../abc", "token://a:1//abc",
                   "token://a:1/v 1/abc", "token://a b:1/v1/abc", "https://a/v1/abc", ""}) {
    INFO(bad);
    CHECK(hub(bad).starts_with("! "));
  }
  CHECK(hub("token://a/v1/" + std::string(129, 'a')).starts_with("! "));
}

TEST_CASE("uri: a hub without a token is where one is made", "[discovery]") {
  CHECK(bare("token://hub.example:2380") ==
        "https://hub.example:2380/v1 token://hub.example:2380/v1");
  CHECK(bare("token+http://127.0.0.1:2380/") ==
        "http://127.0.0.1:2380/v1 token+http://127.0.0.1:2380/v1");
  CHECK(bare("token://h/a/b/") == "https://h/a/b token://h/a/b");
  CHECK(bare("token://").starts_with("! "));
  CHECK(bare("node://a:1").starts_with("! "));
}

TEST_CASE("uri: a file is an absolute path", "[discovery]") {
  CHECK(parseFileUri("file:///etc/orch/hosts") == "/etc/orch/hosts");
  for (auto bad : {"file://etc/hosts", "file://", "file:///", "file:///a/", "file:///a/../b",
                   "/etc/hosts", "node://a:1"}) {
    INFO(bad);
    CHECK(!attemptNow([&] { return parseFileUri(bad); }).ok());
  }
}

}  // namespace
}  // namespace orch::discovery
