// What is refused is said in one line that says what to do.
#pragma once

#include <catch2/catch.hpp>

#include "lib/testing/test-node.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/held-time.h"

namespace orch::store {

inline conformance::Change newObject(const std::string& key) {
  return conformance::Change{"task", key, 0, "v"};
}

// What a load, or a commit of a new object, says; empty: it works.
inline std::string loadRefusal(conformance::Bench& bench) {
  auto outcome = attemptNow([&] { bench.load(); });
  return outcome.ok() ? "" : outcome.message().cStr();
}
inline std::string commitRefusal(conformance::Bench& bench, const std::string& id) {
  auto outcome = attemptNow([&] {
    auto answer = bench.commit(id, {newObject(id)});
    if (answer.kind != conformance::Answer::COMMITTED) fail(kj::str(answer.reason.c_str()));
  });
  return outcome.ok() ? "" : outcome.message().cStr();
}

// What a plugin with these settings says of a look-up, or of the settings; empty: it works. Its
// time passes no faster than the real one.
template <typename Backend>
std::string refusalOf(TestLoop& loop, const typename Backend::Options& options) {
  testing::HeldTime time(*loop.env, loop.scope);
  TestNode<Backend> node(time, loop.scope, kj::str(Backend::SHORT, "-refused"), options);
  auto opened = attemptNow([&] { return node.reopened(); });
  if (!opened.ok()) return opened.message().cStr();
  auto request = opened.value().findRequest();
  request.setBatchId("b");
  auto asked = attempt(request.send()).promise();
  testing::until(*loop.env, loop.scope, "an answer or the deadline", [&] {
    time.advance(1 * kj::MILLISECONDS);
    return asked.poll(loop.scope);
  });
  auto outcome = asked.wait(loop.scope);
  return outcome.ok() ? "" : outcome.message().cStr();
}

inline bool says(const std::string& text, const std::string& words) {
  UNSCOPED_INFO(text);
  return text.find(words) != std::string::npos;
}

}  // namespace orch::store
