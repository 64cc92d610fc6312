// Servers die, stop and come back while two nodes write as the manager does; then everything that
// was acknowledged is counted.
#pragma once

#include <catch2/catch.hpp>
#include <signal.h>

#include <algorithm>

#include "lib/testing/test-node.h"
#include "orch/fail.h"
#include "orch/store-client.h"

namespace orch::store {

// Counts up an object that nobody else writes.
struct Counter {
  Counter(Env& env, schema::Store::Client store, std::string name)
      : client(env, kj::mv(store), 60 * kj::SECONDS), key(std::move(name)) {}

  Task<void> run(int increments) {
    while (value < increments) {
      auto text = std::to_string(value + 1);
      auto own = key + "-" + text;
      StoreOp ops[2];
      ops[0].kind = ops[1].kind = "task";
      ops[0].key = key.c_str();
      ops[0].expected = revision;
      ops[0].value = kj::arrayPtr(text.data(), text.size()).asBytes();
      ops[1].key = own.c_str();
      ops[1].value = ops[0].value;
      auto committing = client.commit(ops, 0);
      auto outcome = co_await kj::mv(committing);
      ++tries;
      if (outcome.kind == CommitOutcome::Kind::FAILED) continue;
      if (outcome.kind != CommitOutcome::Kind::COMMITTED) {
        fail(kj::str(key.c_str(), ": ", outcome.reason));
      }
      if (outcome.reason.size() > 0) ++lookedUp;
      revision = outcome.revision;
      ++value;
    }
  }

  StoreClient client;
  std::string key;
  uint64_t revision = 0;
  int value = 0;
  int tries = 0;
  int lookedUp = 0;
};

// A fault begins after every `between` increments.
template <typename Backend>
void losesNothingInChaos(int increments, int between) {
  OneNode<Backend> all("chaos", 3);
  auto& one = all.node;
  conformance::Bench bench(one);
  bench.load();  // they have elected a leader
  one.options.timeoutMs = 1000;
  bench.reopen();
  auto two = all.another("2", one.options);
  conformance::Bench other(two);
  REQUIRE(one.options.prefix == two.options.prefix);
  conformance::Seen seen;
  auto following = other.follow(0, seen);
  Counter first(*all.loop.env, bench.store, "first"), second(*all.loop.env, other.store, "second");
  auto counting = first.run(increments).promise().eagerlyEvaluate(nullptr);
  auto alongside = second.run(increments).promise().eagerlyEvaluate(nullptr);
  // What happens next depends on how far they are, not on the time.
  auto reach = [&](int value) {
    all.until("the counters to go on",
              [&, value] { return first.value >= value && second.value >= value; });
  };
  int faults = 0;
  for (int at = between; at + between <= increments; at += between) {
    size_t server = faults % 3;
    bool kills = faults % 2 == 0;
    if (kills) {
      all.servers.kill(server);
    } else {
      all.servers.signal(SIGSTOP, server);
    }
    ++faults;
    reach(at + between / 2);
    if (kills) {
      all.servers.start(server);
    } else {
      all.servers.signal(SIGCONT, server);
    }
    reach(at + between);
  }
  counting.wait(all.loop.scope);
  alongside.wait(all.loop.scope);
  auto state = bench.load();
  CHECK(state.objects.size() == 2 * static_cast<size_t>(increments) + 2);
  for (auto* counter : {&first, &second}) {
    CHECK((state.objects[{"task", counter->key}] ==
           conformance::Stored{counter->revision, std::to_string(increments)}));
  }
  other.await(seen, state.revision);
  CHECK(seen.resyncs.empty());
  CHECK(seen.revisions.size() == 2 * static_cast<size_t>(increments));
  CHECK(std::is_sorted(seen.revisions.begin(), seen.revisions.end()));
  WARN(faults << " faults, " << first.tries + second.tries << " commits, "
              << first.lookedUp + second.lookedUp << " of them looked up");
}

}  // namespace orch::store
