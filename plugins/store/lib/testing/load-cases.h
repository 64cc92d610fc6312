// Loads while others write.
#pragma once

#include <catch2/catch.hpp>

#include <map>

#include "lib/testing/test-node.h"

namespace orch::store {

// What the writer of the case has committed.
struct WrittenStates {
  using Objects = std::map<std::pair<std::string, std::string>, conformance::Stored>;
  Objects now;
  std::map<uint64_t, Objects> byRevision;

  void apply(const std::vector<conformance::Change>& changes, uint64_t revision) {
    for (auto& change : changes) {
      if (change.remove) now.erase({change.kind, change.key});
      if (!change.remove) now[{change.kind, change.key}] = {revision, change.value};
    }
    byRevision[revision] = now;
  }
};

template <typename Backend>
void loadsShowOneMoment() {
  OneNode<Backend> all("moment");
  conformance::Bench writer(all.node);
  auto second = all.another("reader", all.node.options);
  conformance::Bench reader(second);
  WrittenStates written;
  auto key = [](int number) { return "k" + std::to_string(10'000 + number); };
  auto commit = [&](std::string id, std::vector<conformance::Change> changes) {
    for (auto& change : changes) {
      auto found = written.now.find({change.kind, change.key});
      change.expected = found == written.now.end() ? 0 : found->second.revision;
    }
    written.apply(changes, writer.mustCommit(id, changes));
  };
  constexpr int BATCHES = 100, OBJECTS = 30;
  for (int i = 0; i < BATCHES; ++i) {
    std::vector<conformance::Change> changes;
    for (int n = 0; n < OBJECTS; ++n) {
      changes.push_back({"task", key(i * OBJECTS + n), 0, std::string(100, 'a')});
    }
    commit("fill" + std::to_string(i), kj::mv(changes));
  }
  written.byRevision.erase(written.byRevision.begin(), std::prev(written.byRevision.end()));
  size_t during = 0;
  for (int round = 0; round < 4; ++round) {
    auto loading = reader.startLoad();
    for (int i = 0; i < 20 && !loading.poll(all.loop.scope); ++i, ++during) {
      auto number = std::to_string(round * 100 + i);
      // One is removed and comes again, one is large for a record, and changes with each commit.
      auto first = key(0), any = key((round * 131 + i * 97) % 3000);
      bool there = written.now.count({"task", first}) > 0;
      std::vector<conformance::Change> changes{{"task", first, 0, there ? "" : number, there}};
      if (any != first) changes.push_back({"task", any, 0, number});
      if (i % 4 == 1) changes.push_back({"task", "large", 0, std::string(140'000, 'b') + number});
      changes.push_back({"task", "new" + number, 0, "n"});
      commit("during" + number, kj::mv(changes));
    }
    auto loaded = loading.wait(all.loop.scope);
    auto then = written.byRevision.find(loaded.revision);
    REQUIRE(then != written.byRevision.end());
    CHECK((loaded.objects == then->second));
  }
  CHECK(during > 0);
}

}  // namespace orch::store
