// What becomes of an entry on servers. `Lab` is a plugin's:
//   Plugin, Lab(loop, testName)        servers, on which nothing is
//   options                            of a plugin that is to be on them, below `lab`
//   nodes, details                     begin the keys of entries as classic Swarm has them, and of
//                                      what else is known of them
//   holds(key), get(key), put(key, value)          with the servers' own tools
#pragma once

#include "lib/testing/test-backend.h"

namespace orch::discovery {

template <typename Lab>
void anotherProcessTakesOver(kj::StringPtr testName) {
  using Backend = TestBackend<typename Lab::Plugin>;
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, testName);
  auto first = kj::heap<Backend>(loop, lab.options);
  Backend second(loop, lab.options);
  // It is watched before there is anything.
  auto watching = second.watch(seen);
  loop.until("the empty list", [&] { return shows(seen, {}); });
  CHECK(first->put("10.0.0.1:2377") == "");
  CHECK(lab.get(lab.nodes + "10.0.0.1:2377") == "10.0.0.1:2377");
  CHECK(lab.get(lab.details + "10.0.0.1:2377") == "manager digest -");
  loop.until("the entry", [&] { return shows(seen, {"10.0.0.1:2377"}); });
  auto lists = seen.lists.size();
  // As after a restart: the same entry by another process, while the first one's time runs.
  first = nullptr;
  CHECK(lab.holds(lab.nodes + "10.0.0.1:2377"));
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(second.put("10.0.0.1:2377", 120'000) == "");
  CHECK(second.put("10.0.0.2:2377") == "");
  loop.until("the other entry", [&] { return seen.lists.back().size() == 2; });
  CHECK(seen.lists.size() == lists + 1);
  CHECK(seen.failures == Addresses{});
  // What a node is now is told as well.
  CHECK(second.put("10.0.0.1:2377", 120'000, Role::WORKER) == "");
  CHECK(lab.get(lab.details + "10.0.0.1:2377") == "worker digest -");
  loop.until("the change", [&] { return seen.lists.size() == lists + 2; });
}

template <typename Lab>
void unregisteredWhileItComes(kj::StringPtr testName) {
  Loop loop;
  Lab lab(loop, testName);
  TestBackend<typename Lab::Plugin> plugin(loop, lab.options);
  CHECK(plugin.put("10.0.0.8:1") == "");
  auto coming = plugin.registering("10.0.0.9:1").eagerlyEvaluate(nullptr);
  plugin.unregistering("10.0.0.9:1").wait(loop.scope);
  coming.wait(loop.scope);
  CHECK(lab.holds(lab.nodes + "10.0.0.8:1"));
  CHECK_FALSE(lab.holds(lab.nodes + "10.0.0.9:1"));
  CHECK_FALSE(lab.holds(lab.details + "10.0.0.9:1"));
}

// As long as servers take for their shortest time.
template <typename Lab>
void goesUnlessRenewed(kj::StringPtr testName) {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, testName);
  TestBackend<typename Lab::Plugin> plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  lab.put(lab.nodes + "10.0.0.1:1", "10.0.0.1:1");
  CHECK(plugin.put("10.0.0.8:1", 60'000) == "");
  CHECK(plugin.put("10.0.0.9:1", 1000) == "");
  loop.until("all", [&] { return !seen.lists.empty() && seen.lists.back().size() == 3; });
  loop.until("the end of one", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.8:1"}); });
  CHECK_FALSE(lab.holds(lab.details + "10.0.0.9:1"));
  // It can be there again.
  CHECK(plugin.put("10.0.0.9:1", 60'000) == "");
  loop.until("all again", [&] { return seen.lists.back().size() == 3; });
}

}  // namespace orch::discovery
