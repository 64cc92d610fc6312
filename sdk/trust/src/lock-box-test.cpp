#include "orch/trust/lock-box.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::trust {
namespace {

TEST_CASE("lock-box: opens with its key alone, and not when it was changed", "[trust]") {
  auto key = newLockKey(), other = newLockKey();
  std::string plain = "-----BEGIN PRIVATE KEY-----";
  auto box = lockUp(key, plain);
  CHECK(box.find("BEGIN") == std::string::npos);
  CHECK(lockUp(key, plain) != box);
  KJ_IF_MAYBE (opened, openUp(key, box)) CHECK(*opened == plain);
  CHECK(openUp(key, box) != nullptr);
  CHECK(openUp(other, box) == nullptr);
  CHECK(openUp("", box) == nullptr);
  CHECK(openUp(key, "") == nullptr);
  for (size_t at : {size_t{0}, size_t{20}, box.size() - 1}) {
    auto changed = box;
    changed[at] ^= 1;
    CHECK(openUp(key, changed) == nullptr);
  }
  CHECK(openUp(key, lockUp(key, "")) != nullptr);
}

TEST_CASE("lock-box: a key as text is the same again, and anything else is refused", "[trust]") {
  auto key = newLockKey();
  auto text = unlockKeyText(key);
  CHECK(text.starts_with("ORCHKEY-1-"));
  CHECK(parseUnlockKey("  " + text + "\n") == key);
  for (auto wrong : {std::string(), text + "0", text.substr(1), "SWMKEY-1-abc" + text}) {
    auto parsed = attemptNow([&] { return parseUnlockKey(wrong); });
    REQUIRE(!parsed.ok());
    CHECK_THAT(parsed.message().cStr(), Catch::StartsWith("usage: this is no unlock key"));
  }
  CHECK(nameOfKey("").empty());
  CHECK(nameOfKey(key) != nameOfKey(newLockKey()));
}

}  // namespace
}  // namespace orch::trust
