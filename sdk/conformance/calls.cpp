#include "calls.h"

#include <kj/debug.h>

#include <string>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::conformance {

namespace {
constexpr size_t LEAST_TEXT = 20;  // characters that a user can make something of
const kj::StringPtr BAD_IDS[] = {
    ""_kj,         "."_kj,
    ".."_kj,       "../up"_kj,
    "a/b"_kj,      ".hidden"_kj,
    "a b"_kj,      "a\n"_kj,
    "\xc3\xa4"_kj, "12345678901234567890123456789012345678901234567890123456789012345"_kj};
}  // namespace

kj::ArrayPtr<const kj::StringPtr> badIds() { return BAD_IDS; }

void requireRefused(kj::WaitScope& waitScope, kj::StringPtr what, kj::StringPtr named,
                    kj::Promise<void> call) {
  auto outcome = attemptNow([&] { call.wait(waitScope); });
  KJ_REQUIRE(!outcome.ok(), "was not refused", what);
  KJ_REQUIRE(outcome.error().getType() == kj::Exception::Type::FAILED, what, outcome.error());
  std::string text = plainText(outcome.error()).cStr();
  KJ_REQUIRE(text.size() > LEAST_TEXT && text.find(named.cStr()) != std::string::npos,
             "the refusal names what it is about, in a text that users can read", what,
             text.c_str());
}

void dropAt(int moment, kj::WaitScope& waitScope, kj::Promise<void> call) {
  auto running = call.eagerlyEvaluate(nullptr);
  for (int i = 0; i < moment * moment; ++i) kj::evalLast([]() {}).wait(waitScope);
}

}  // namespace orch::conformance
