#include "tokens.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "orch/attempt.h"
#include "orch/testing/test-host.h"

namespace orch::api::http {
namespace {

TEST_CASE("tokens: a token has the role of its line", "[api]") {
  auto tokens = Tokens::parse(
      "# who\nread 0123456789abcdef\n\n  metrics\tprometheus-0000001  # scrapes\r\n", "tokens");
  CHECK(tokens.roleOf("Bearer 0123456789abcdef") == Role::READ);
  CHECK(tokens.roleOf("bearer 0123456789abcdef") == Role::READ);
  CHECK(tokens.roleOf("Bearer prometheus-0000001") == Role::METRICS);
  for (auto other : {"", "Bearer ", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef",
                     "0123456789abcdef", "Bearer 0123456789abcdef "}) {
    INFO(other);
    CHECK(tokens.roleOf(other) == Role::NONE);
  }
}

TEST_CASE("tokens: a file that cannot be right is refused with its line", "[api]") {
  auto error = [](const char* text) {
    return std::string(attemptNow([&] { Tokens::parse(text, "tokens"); }).message().cStr());
  };
  CHECK(
      error("\nking 0123456789abcdef") ==
      "tokens:2: no role; accepted: 'metrics TOKEN', 'read TOKEN' or 'change TOKEN', with a token "
      "of at least 16 printable characters");
  CHECK(error("read short").starts_with("tokens:1: no token; "));
  CHECK(error("read").starts_with("tokens:1: no token; "));
  CHECK(error("read 0123456789abcdef x").starts_with("tokens:1: more than a role and a token; "));
  CHECK(
      error("read 0123456789abcdef\nread 0123456789abcdef").starts_with("tokens:2: a token that"));
  CHECK(error("# nothing\n").starts_with("tokens: there is no token in it"));
}

TEST_CASE("tokens: a file that others may read is refused", "[api]") {
  testing::TestFolder folder("api-http-tokens");
  std::string path = folder.sub("tokens").cStr();
  auto read = [&] { return attemptNow([&] { return readTokenFile(path); }); };
  CHECK(read().message().startsWith("tokenFile: cannot read '"));
  std::filesystem::create_directories(folder.path().cStr());
  std::ofstream(path) << "read 0123456789abcdef\n";
  chmod(path.c_str(), 0640);
  CHECK(read().message() == kj::str("tokenFile: others than its owner may read or write '",
                                    path.c_str(), "'; chmod 600 it"));
  chmod(path.c_str(), 0600);
  CHECK(read().value() == "read 0123456789abcdef\n");
}

}  // namespace
}  // namespace orch::api::http
