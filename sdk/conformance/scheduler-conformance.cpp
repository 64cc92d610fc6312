#include "orch/conformance/scheduler-conformance.h"

#include <capnp/message.h>
#include <kj/debug.h>

#include <map>
#include <string>
#include <vector>

namespace orch::conformance {

namespace {

constexpr uint32_t ANY = UINT32_MAX;  // as much room as one likes

// A node of a case, and how many tasks of the case's group it can take.
struct Row {
  const char* id;
  uint64_t cpu = 0;
  uint64_t memory = 0;
  uint32_t ofService = 0;
  uint32_t ofOthers = 0;
  uint32_t failures = 0;
  bool candidate = true;
  uint32_t room = ANY;
  uint32_t limit = ANY;  // of what the strategy is not told of
  bool image = false;    // it has it
};

struct Wish {
  uint64_t cpu = 0;
  uint64_t memory = 0;
  uint32_t most = 0;  // per node
};

using Rows = std::vector<Row>;
using Placed = std::vector<std::string>;

// One table on the scheduler, with short forms for its calls, and what has to be said with each.
class Placing final {
 public:
  Placing(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope, const Rows& rows)
      : waitScope(waitScope), table(nullptr) {
    auto request = scheduler.openRequest();
    fill(request.initNodes(rows.size()), rows);
    table = request.send().wait(waitScope).getTable();
  }

  Placing fork() {
    Placing copy(*this);
    copy.table = table.forkRequest().send().wait(waitScope).getTable();
    return copy;
  }

  void apply(const Rows& changed, const std::vector<std::string>& gone = {}) {
    auto request = table.applyRequest();
    fill(request.initChanged(changed.size()), changed);
    auto list = request.initGone(gone.size());
    for (uint32_t i = 0; i < gone.size(); ++i) list.set(i, gone[i].c_str());
    request.send().wait(waitScope);
  }
  // Nodes by their numbers, in the branches of a preference.
  void divide(const std::vector<uint32_t>& branches) {
    auto request = table.applyRequest();
    auto division = request.initDivisions(1)[0];
    division.setId(DIVISION);
    auto list = division.initBranches(branches.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, branches[i]);
    request.send().wait(waitScope);
    divided = true;
  }

  void fill(schema::TaskGroup::Builder group, const Wish& wish,
            const std::vector<std::string>& candidates, const std::string& service = "web") {
    group.setServiceId(service.c_str());
    group.setReserveCpuNanos(wish.cpu);
    group.setReserveMemoryBytes(wish.memory);
    group.setMaxPerNode(wish.most);
    for (auto& id : candidates) numberOf(id);
    auto bits = group.initCandidates(names.size() / 64 + 1);
    for (auto& id : candidates) {
      auto number = numberOf(id);
      bits.set(number / 64, bits[number / 64] | uint64_t(1) << number % 64);
    }
    if (!having.empty()) {
      auto images = group.initHaving(bits.size());
      for (auto& id : having) {
        auto number = numberOf(id);
        images.set(number / 64, images[number / 64] | uint64_t(1) << number % 64);
      }
    }
    auto& loads = own[service];
    auto list = group.initLoads(loads.size());
    uint32_t next = 0;
    for (auto& [id, load] : loads) {
      list[next].setNode(numberOf(id));
      list[next].setTasks(load.tasks);
      list[next].setRoom(load.limit);
      list[next++].setRecentFailures(load.failures);
    }
    if (divided) group.initLevels(1).set(0, DIVISION);
  }

  Placed place(const Wish& wish, uint32_t count, const std::vector<std::string>& candidates,
               uint64_t seed = 1, const std::string& service = "web") {
    auto request = table.placeRequest();
    request.setCount(count);
    request.setSeed(seed);
    fill(request.initGroup(), wish, candidates, service);
    auto answer = request.send().wait(waitScope);
    Placed placed;
    for (auto node : answer.getNodes()) {
      KJ_REQUIRE(node < names.size(), "a task went to a node that there is not", node);
      placed.push_back(names[node]);
      auto& there = own[service][names[node]];
      ++there.tasks;
      if (there.limit != ANY) --there.limit;
    }
    KJ_REQUIRE(placed.size() + answer.getUnplaced() == count,
               "the placed and the unplaced are not the tasks that were asked for", placed.size(),
               answer.getUnplaced(), count);
    return placed;
  }
  // The other one has the number of the first from now on.
  void rename(const std::string& id, const std::string& other) {
    auto number = numberOf(id);
    numbers.erase(id);
    numbers[other] = number;
    names[number] = other;
  }

  kj::WaitScope& waitScope;
  schema::PlacementTable::Client table;
  std::vector<std::string> names;  // by number

 private:
  static constexpr uint32_t DIVISION = 3;
  struct Own {
    uint32_t tasks = 0;
    uint32_t failures = 0;
    uint32_t limit = ANY;
  };

  uint32_t numberOf(const std::string& id) {
    auto [it, isNew] = numbers.try_emplace(id, static_cast<uint32_t>(names.size()));
    if (isNew) names.push_back(id);
    return it->second;
  }
  void fill(capnp::List<schema::NodeLoad>::Builder list, const Rows& rows) {
    for (uint32_t i = 0; i < rows.size(); ++i) {
      auto& row = rows[i];
      auto node = list[i];
      node.setId(row.id);
      node.setNumber(numberOf(row.id));
      node.setAvailableCpuNanos(row.cpu);
      node.setAvailableMemoryBytes(row.memory);
      node.setTotalCpuNanos(row.cpu);
      node.setTotalMemoryBytes(row.memory);
      node.setTasks(row.ofService + row.ofOthers);
      own["web"][row.id] = {row.ofService, row.failures, row.limit};
      own["other"][row.id] = {row.ofOthers, 0};
      if (row.image) having.push_back(row.id);
    }
  }

  std::map<std::string, uint32_t> numbers;
  std::map<std::string, std::map<std::string, Own>> own;  // by service and node
  std::vector<std::string> having;
  bool divided = false;
};

std::vector<std::string> candidatesOf(const Rows& rows) {
  std::vector<std::string> ids;
  for (auto& row : rows) {
    if (row.candidate) ids.push_back(row.id);
  }
  return ids;
}

// Nobody got more than there is room for, and nothing was left that had room.
void requireRoomKept(const Placed& placed, const Rows& rows, uint32_t count) {
  std::map<std::string, uint32_t> byNode;
  for (auto& id : placed) ++byNode[id];
  uint64_t room = 0;
  for (auto& row : rows) {
    if (!row.candidate) continue;
    room += row.room;
    KJ_REQUIRE(byNode[row.id] <= row.room, "more tasks than the node has room for", row.id,
               byNode[row.id], row.room);
    byNode.erase(row.id);
  }
  KJ_REQUIRE(byNode.empty(), "a task went to a node that is no candidate", byNode.begin()->first);
  KJ_REQUIRE(placed.size() == std::min<uint64_t>(count, room),
             "not as many tasks were placed as have room", placed.size(), count, room);
}

// ---- one call ----------------------------------------------------------------------------------

struct Case {
  const char* what;
  Wish wish;
  uint32_t count;
  Rows nodes;
};

const Case CASES[] = {
    {"without nodes nothing is placed", {}, 3, {}},
    {"nothing to place is an empty answer", {}, 0, {{.id = "a"}}},
    {"without a candidate nothing is placed", {}, 3, {{.id = "a", .candidate = false}}},
    {"one node takes all that reserve nothing", {}, 100, {{.id = "a"}}},
    {"a full node takes those that reserve nothing", {}, 2, {{.id = "a", .ofService = 99}}},
    {"only candidates are used",
     {},
     9,
     {{.id = "a", .candidate = false}, {.id = "b"}, {.id = "c", .candidate = false}}},
    {"processors are not given away twice",
     {.cpu = 3},
     9,
     {{.id = "a", .cpu = 7, .room = 2},
      {.id = "b", .cpu = 3, .room = 1},
      {.id = "c", .cpu = 2, .room = 0}}},
    {"nor is memory",
     {.memory = 1 << 20},
     9,
     {{.id = "a", .memory = 3 << 20, .room = 3}, {.id = "b", .memory = (1 << 20) - 1, .room = 0}}},
    {"both must fit",
     {.cpu = 1, .memory = 1},
     9,
     {{.id = "a", .cpu = 9, .memory = 1, .room = 1},
      {.id = "b", .cpu = 2, .memory = 9, .room = 2}}},
    {"what exceeds 32 bits is a number like others",
     {.cpu = 5'000'000'000, .memory = 6ull << 30},
     9,
     {{.id = "a", .cpu = 16'000'000'000, .memory = 64ull << 30, .room = 3},
      {.id = "b", .cpu = 64'000'000'000, .memory = 13ull << 30, .room = 2}}},
    {"at most so many of the service on a node, with those that run there",
     {.most = 2},
     9,
     {{.id = "a", .room = 2},
      {.id = "b", .ofService = 1, .room = 1},
      {.id = "c", .ofService = 5, .room = 0}}},
    {"those of other services do not count for that",
     {.most = 2},
     9,
     {{.id = "a", .ofOthers = 50, .room = 2}, {.id = "b", .room = 2}}},
    {"no more than there is room for by what the strategy is not told of",
     {.cpu = 1},
     9,
     {{.id = "a", .cpu = 9, .room = 2, .limit = 2},
      {.id = "b", .cpu = 1, .room = 1, .limit = 4},
      {.id = "c", .cpu = 9, .room = 0, .limit = 0},
      {.id = "d", .cpu = 9, .ofService = 3, .room = 1, .limit = 1}}},
    {"a node that has the image has no more room for that",
     {.cpu = 1},
     9,
     {{.id = "a", .cpu = 2, .room = 2}, {.id = "b", .cpu = 1, .room = 1, .image = true}}},
    {"a node that keeps failing is used if there is no other",
     {},
     4,
     {{.id = "a", .failures = 1000}}},
    {"one node with room among many without is found",
     {.cpu = 2},
     1,
     {{.id = "a", .cpu = 1, .room = 0},
      {.id = "b", .cpu = 1, .room = 0},
      {.id = "c", .cpu = 1, .room = 0},
      {.id = "d", .cpu = 2, .room = 1},
      {.id = "e", .cpu = 1, .room = 0}}},
};

void roomOfOneCall(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  for (auto& one : CASES) {
    KJ_CONTEXT(one.what);
    Placing table(scheduler, waitScope, one.nodes);
    requireRoomKept(table.place(one.wish, one.count, candidatesOf(one.nodes)), one.nodes,
                    one.count);
  }
}

void unknownCandidates(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Rows rows = {{.id = "a", .cpu = 1, .room = 1}};
  Placing table(scheduler, waitScope, rows);
  requireRoomKept(table.place({.cpu = 1}, 3, {"gone", "a", "", "a"}), rows, 3);
}

void absurdCounts(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Placing table(scheduler, waitScope, {{.id = "a", .cpu = 2}});
  for (uint32_t count : {2'000'000u, 1u << 31, UINT32_MAX}) {
    auto placed = kj::runCatchingExceptions([&]() { table.place({}, count, {"a"}); });
    KJ_REQUIRE(placed != nullptr, "more tasks than any service has were placed", count);
  }
  KJ_REQUIRE(table.place({.cpu = 1}, 9, {"a"}).size() == 2, "a refused call changed the table");
}

void manyNodes(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  std::vector<std::string> names;
  for (int i = 0; i < 500; ++i) names.push_back("node-" + std::to_string(i));
  Rows rows;
  for (uint32_t i = 0; i < names.size(); ++i) {
    rows.push_back({.id = names[i].c_str(), .cpu = i % 7, .candidate = i % 5 != 0, .room = i % 7});
  }
  Placing table(scheduler, waitScope, rows);
  requireRoomKept(table.place({.cpu = 1}, 700, candidatesOf(rows)), rows, 700);
  Placing again(scheduler, waitScope, rows);
  requireRoomKept(again.place({.cpu = 1}, 100'000, candidatesOf(rows)), rows, 100'000);
}

// ---- several calls -----------------------------------------------------------------------------

void placementsCount(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Rows rows = {{.id = "a", .cpu = 3, .room = 3}, {.id = "b", .cpu = 2, .room = 2}};
  Placing table(scheduler, waitScope, rows);
  auto placed = table.place({.cpu = 1}, 3, {"a", "b"});
  auto rest = table.place({.cpu = 1}, 9, {"a", "b"}, 2, "other");
  placed.insert(placed.end(), rest.begin(), rest.end());
  requireRoomKept(placed, rows, 12);

  Placing most(scheduler, waitScope, {{.id = "a"}});
  KJ_REQUIRE(most.place({.most = 2}, 1, {"a"}).size() == 1);
  KJ_REQUIRE(most.place({.most = 2}, 9, {"a"}).size() == 1, "what a node has does not count");
  KJ_REQUIRE(most.place({.most = 2}, 9, {"a"}, 1, "other").size() == 2,
             "maxPerNode is per service");
}

void sameAnswer(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Rows rows = {
      {.id = "a", .cpu = 9}, {.id = "b", .cpu = 9}, {.id = "c", .cpu = 9}, {.id = "d", .cpu = 9}};
  for (uint64_t seed : {uint64_t(0), uint64_t(1), uint64_t(7), ~uint64_t(0)}) {
    Placing one(scheduler, waitScope, rows);
    Placing two(scheduler, waitScope, rows);
    auto fork = one.fork();
    auto placed = one.place({.cpu = 2}, 7, {"a", "b", "c", "d"}, seed);
    KJ_REQUIRE(placed == two.place({.cpu = 2}, 7, {"a", "b", "c", "d"}, seed),
               "the same table, group, count and seed gave two answers", seed);
    KJ_REQUIRE(placed == fork.place({.cpu = 2}, 7, {"a", "b", "c", "d"}, seed),
               "a fork answers differently", seed);
  }
}

void forksAreApart(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Placing table(scheduler, waitScope, {{.id = "a", .cpu = 2}});
  auto fork = table.fork();
  KJ_REQUIRE(fork.place({.cpu = 1}, 9, {"a"}).size() == 2);
  fork.apply({{.id = "b", .cpu = 1}}, {"a"});
  KJ_REQUIRE(table.place({.cpu = 1}, 1, {"a", "b"}) == Placed{"a"}, "the fork changed the table");
  KJ_REQUIRE(fork.place({.cpu = 1}, 9, {"a", "b"}) == Placed{"b"}, "the table changed its fork");
  auto later = table.fork();
  KJ_REQUIRE(later.place({.cpu = 1}, 9, {"a"}).size() == 1, "a fork forgot what was placed");
}

void changes(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  const std::vector<std::string> all = {"a", "b", "c"};
  Placing table(scheduler, waitScope,
                {{.id = "a", .cpu = 1}, {.id = "b", .cpu = 1, .ofService = 3}});
  table.apply({{.id = "c", .cpu = 1}});
  KJ_REQUIRE(table.place({.cpu = 1}, 9, all).size() == 3, "a new node is used");
  table.apply({{.id = "a", .cpu = 2}}, {"b"});
  KJ_REQUIRE(table.place({.cpu = 1}, 9, all) == (Placed{"a", "a"}),
             "a changed node has what the change says, and one that is gone takes nothing");
  table.apply({{.id = "b", .cpu = 1}});
  KJ_REQUIRE(table.place({.cpu = 1, .most = 1}, 9, all) == Placed{"b"},
             "a node that came back has the tasks that it is said to have");
  table.rename("b", "d");
  table.apply({{.id = "d", .cpu = 2}});
  KJ_REQUIRE(table.place({.cpu = 1}, 9, {"d"}) == (Placed{"d", "d"}),
             "a node with the number of another takes its place");
  table.apply({}, {"never-seen"});
  table.apply({}, {"d"});
  table.apply({}, all);
  KJ_REQUIRE(table.place({}, 1, all).empty(), "all nodes are gone");
}

void preferences(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Rows rows = {{.id = "a", .cpu = 1, .room = 1},
               {.id = "b", .cpu = 2, .room = 2},
               {.id = "c", .cpu = 1, .candidate = false}};
  Placing table(scheduler, waitScope, rows);
  table.divide({0, 1, 1});
  requireRoomKept(table.place({.cpu = 1}, 9, candidatesOf(rows)), rows, 9);
  table.apply(rows);
  table.divide({7, 7, UINT32_MAX});
  requireRoomKept(table.place({.cpu = 1}, 9, candidatesOf(rows)), rows, 9);
}

void wishes(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Rows rows = {{.id = "a", .cpu = 1, .room = 1},
               {.id = "b", .cpu = 2, .room = 2},
               {.id = "c", .cpu = 1, .candidate = false}};
  for (uint64_t meet : {0ull, 1ull, 2ull, 4ull, ~0ull}) {
    Placing table(scheduler, waitScope, rows);
    auto request = table.table.placeRequest();
    request.setCount(9);
    auto group = request.initGroup();
    table.fill(group, {.cpu = 1}, candidatesOf(rows));
    auto wish = group.initWishes(2);
    wish[0].setWeight(UINT32_MAX);
    wish[0].initNodes(1).set(0, meet);
    wish[1].setWeight(1);  // that nobody meets
    auto answer = request.send().wait(waitScope);
    Placed placed;
    for (auto node : answer.getNodes()) placed.push_back(table.names.at(node));
    requireRoomKept(placed, rows, 9);
  }
}

void tablesAreApart(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Placing one(scheduler, waitScope, {{.id = "a", .cpu = 1}});
  Placing two(scheduler, waitScope, {{.id = "a", .cpu = 1}, {.id = "b", .cpu = 1}});
  KJ_REQUIRE(two.place({.cpu = 1}, 9, {"a", "b"}).size() == 2);
  KJ_REQUIRE(one.place({.cpu = 1}, 9, {"a", "b"}) == Placed{"a"}, "tables are shared");
}

void explains(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
  Rows rows = {{.id = "a", .cpu = 9, .ofService = 2, .ofOthers = 1},
               {.id = "b", .cpu = 7, .ofService = 0, .ofOthers = 8},
               {.id = "c", .cpu = 8, .ofService = 1, .failures = 1000},
               {.id = "d", .cpu = 9, .candidate = false}};
  Placing table(scheduler, waitScope, rows);
  auto request = table.table.explainRequest();
  auto ids = candidatesOf(rows);
  ids.push_back("unknown");
  table.fill(request.initGroup(), {.cpu = 1}, ids);
  kj::Maybe<capnp::Response<schema::PlacementTable::ExplainResults>> answered;
  auto failed = kj::runCatchingExceptions([&]() { answered = request.send().wait(waitScope); });
  KJ_IF_MAYBE (exception, failed) {
    if (exception->getType() == kj::Exception::Type::UNIMPLEMENTED) return;
    kj::throwFatalException(kj::mv(*exception));
  }
  auto& answer = KJ_ASSERT_NONNULL(answered);
  std::map<std::string, std::vector<int64_t>> terms;
  for (auto node : answer.getNodes()) {
    auto& values = terms[table.names.at(node.getNode())];
    for (auto term : node.getTerms()) {
      KJ_REQUIRE(term.getName().size() > 0, "a term has no name");
      values.push_back(term.getValue());
    }
  }
  KJ_REQUIRE(terms.size() == 3, "not every candidate that is known is explained, or others are",
             terms.size());
  auto first = table.place({.cpu = 1}, 1, candidatesOf(rows));
  KJ_REQUIRE(first.size() == 1);
  for (auto& [id, values] : terms) {
    KJ_REQUIRE(values.size() == terms[first[0]].size(), "candidates have different terms", id);
    KJ_REQUIRE(!(values < terms[first[0]]), "the terms of another node were better", id);
  }
}

const SchedulerCheck SCHEDULER_CHECKS[] = {
    {"tasks go to candidates with room for them, as many as there is room for", roomOfOneCall},
    {"a candidate that the table does not know is passed over", unknownCandidates},
    {"more tasks than a service may have (a million) are refused, since they would hold the loop",
     absurdCounts},
    {"hundreds of nodes and many more tasks than fit", manyNodes},
    {"what was placed counts for the next call", placementsCount},
    {"the same table, group, count and seed give the same answer", sameAnswer},
    {"a fork and its table change apart", forksAreApart},
    {"changes replace what was known of a node, and nodes come and go", changes},
    {"with spread preferences as many tasks find room as without", preferences},
    {"wishes refuse nobody", wishes},
    {"two tables know nothing of each other", tablesAreApart},
    {"the candidate that gets the next task is none that its terms make worse than another, if it "
     "says them",
     explains},
};

}  // namespace

kj::ArrayPtr<const SchedulerCheck> schedulerChecks() { return SCHEDULER_CHECKS; }

}  // namespace orch::conformance
