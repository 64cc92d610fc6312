#include "orch/fail.h"

#include <catch2/catch.hpp>
#include <kj/debug.h>

#include <stdexcept>

#include "orch/attempt.h"

namespace orch {
namespace {

template <typename F>
std::string said(F&& run) {
  auto outcome = attemptNow(kj::fwd<F>(run));
  return outcome.message().cStr();
}

TEST_CASE("fail: users read what was written for them, and no conditions", "[sdk]") {
  int blockMs = 0;
  CHECK(said([&] { KJ_REQUIRE(blockMs > 0, "blockMs must be at least 1"); }) ==
        "blockMs must be at least 1");
  CHECK(said([&] { KJ_REQUIRE(blockMs > 0 && blockMs < 9, "from 1 to 8"); }) == "from 1 to 8");
  CHECK(said([&] { KJ_REQUIRE(blockMs > 0); }).find("expected blockMs > 0") == 0);
  CHECK(said([] { fail(kj::str("expected nothing, got this")); }) == "expected nothing, got this");
  CHECK(said([] { throw std::runtime_error("I threw"); }) == "I threw");
  auto remote = [](const char* text) {
    return std::string(
        plainText(kj::Exception(kj::Exception::Type::FAILED, "", 0, kj::str(text))).cStr());
  };
  CHECK(remote("remote exception: remote exception: expected n > 0; too few") == "too few");
  CHECK(remote("remote exception: std::exception: I threw") == "I threw");
}

}  // namespace
}  // namespace orch
