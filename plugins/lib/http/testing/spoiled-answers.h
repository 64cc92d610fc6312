// For tests of what reads servers' answers: whatever comes is read, or refused in words.
#pragma once

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "orch/attempt.h"

namespace orch::http {

template <typename Read>
void checkRefusal(const std::string& text, Read&& read) {
  auto outcome = attemptNow([&] { read(text); });
  if (outcome.ok() || outcome.message().startsWith("answers ")) return;
  CAPTURE(text, outcome.message().cStr());
  FAIL("an answer was refused with words that tell nothing");
}

// Each of these cut anywhere, and changed in thousands of ways.
template <typename Take>
void spoil(const std::vector<std::string>& answers, Take&& take) {
  uint64_t random = 1;
  auto next = [&] {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    return random >> 33;
  };
  for (auto& whole : answers) {
    for (size_t i = 0; i < whole.size(); ++i) take(whole.substr(0, i));
    for (int i = 0; i < 3000; ++i) {
      auto changed = whole;
      for (uint64_t n = 1 + next() % 4; n > 0; --n) {
        constexpr char LIKELY[] = "{}[]\",:0-9eE.\\u=A\0\xff";
        changed[next() % changed.size()] = LIKELY[next() % (sizeof(LIKELY) - 1)];
      }
      take(changed);
    }
  }
}

}  // namespace orch::http
