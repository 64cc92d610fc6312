// What a damaged disk does to a state: nothing, or a refusal that says what and how to go on.
#include <catch2/catch.hpp>

#include <filesystem>

#include "orch/attempt.h"
#include "orch/testing/test-host.h"
#include "test-store.h"

namespace orch::store::local {
namespace {

constexpr const char* FILES[] = {"state.db", "state.db-wal", "revision"};

std::string valueOf(int i) { return "value-" + std::to_string(i) + std::string(40 + i * 9, 'v'); }

// Objects in the database and in its log, with updates and deletions behind them, an epoch, and one
// value that fills pages of its own.
void fill(LocalStore& store) {
  std::vector<TestOp> ops;
  ops.reserve(24);
  for (int i = 0; i < 24; ++i) ops.push_back({"first-" + std::to_string(i), 0, valueOf(i)});
  uint64_t first = commitOne(store, "batch-0", ops);
  commitOne(store, "batch-1", {{"large", 0, std::string(9000, 'L')}});
  commitOne(store, "batch-2", {{"first-3", first, std::nullopt}, {"first-4", first, "changed"}});
  store.checkpoint();
  for (int i = 3; i < 9; ++i) {
    commitOne(store, "batch-" + std::to_string(i),
              {{"later-" + std::to_string(i), 0, valueOf(i)},
               {"first-" + std::to_string(i + 10), first, std::nullopt}});
  }
  store.note();
}

struct Files {
  std::string bytes[3];
  explicit Files(const std::string& folder) {
    for (int i = 0; i < 3; ++i) bytes[i] = readFile(folder + "/" + FILES[i]);
  }
  void write(const std::string& folder) const {
    for (int i = 0; i < 3; ++i) writeFile(folder + "/" + FILES[i], bytes[i]);
  }
};

std::string openAndDump(const std::string& folder, uint64_t acceptLoss = 0) {
  auto options = smallState(folder.c_str());
  options.acceptLoss = acceptLoss;
  LocalStore store(options);
  return dump(store);
}

std::string openingRefusal(const std::string& folder) {
  auto outcome = attemptNow([&] { return openAndDump(folder); });
  return outcome.ok() ? "" : outcome.message().cStr();
}

// The state that `fill` makes, as a crash leaves it, in `sub`.
std::string crashed(testing::TestFolder& folder, const char* sub) {
  LocalStore store(smallState(folder.sub("live")));
  fill(store);
  std::string copy = folder.sub(sub).cStr();
  copyState(folder.sub("live").cStr(), copy);
  return copy;
}

TEST_CASE("store.local: a flipped byte anywhere is refused by name or does no harm", "[store]") {
  testing::TestFolder folder("store-flip");
  auto copy = crashed(folder, "copy");
  const Files intact(copy);
  const auto expected = openAndDump(copy);
  REQUIRE(intact.bytes[1].size() > 20'000);

  int refused = 0, harmless = 0;
  for (int file = 0; file < 3; ++file) {
    for (size_t at = 0; at < intact.bytes[file].size(); at += 100) {
      auto damaged = intact;
      damaged.bytes[file][at] ^= static_cast<char>(0xff);
      damaged.write(copy);
      auto outcome = attemptNow([&] { return openAndDump(copy); });
      INFO(FILES[file] << " at " << at);
      if (outcome.ok()) {
        ++harmless;
        REQUIRE(outcome.value() == expected);
        continue;
      }
      ++refused;
      std::string text = outcome.message().cStr();
      INFO(text);
      REQUIRE(text.find(copy) != std::string::npos);
      REQUIRE(text.find("backup") != std::string::npos);
      // What is refused stays as it was, for whoever wants to rescue it.
      REQUIRE(readFile(copy + "/" + FILES[file]) == damaged.bytes[file]);
    }
  }
  CHECK(refused > 1000);
  CHECK(harmless > 100);  // space that is free, pages that the log replaces
}

// Changes the database behind the store's back, as a lost write would.
void tamper(const std::string& folder, const char* sql) {
  Database database(databasePath(folder));
  database.execute(sql);
  database.close();
}

TEST_CASE("store.local: a damaged object is refused by name, and dropped only when told to",
          "[store]") {
  testing::TestFolder folder("store-object");
  auto copy = crashed(folder, "copy");
  auto revision = LocalStore(smallState(copy.c_str())).revision();
  tamper(copy, "UPDATE objects SET value = x'00' WHERE key = 'first-7'");
  auto refusal = openingRefusal(copy);
  CHECK(refusal.find("object 'task/first-7'") != std::string::npos);
  CHECK(refusal.find("acceptLoss = " + std::to_string(revision)) != std::string::npos);

  CHECK_THROWS(openAndDump(copy, revision - 1));
  auto state = openAndDump(copy, revision);
  CHECK(state.find("first-7") == std::string::npos);
  CHECK(state.find("task/first-8@1=value-8") != std::string::npos);
  CHECK(state.find("revision " + std::to_string(revision + 1)) != std::string::npos);
  // Left in the settings it does nothing more, and what follows it reads the whole state.
  CHECK(openAndDump(copy, revision) == state);
  LocalStore store(smallState(copy.c_str()));
  CHECK(store.changesAfter(revision).gone);
  CHECK(commitOne(store, "next", {{"first-7", 0, "again"}}) == revision + 2);
}

TEST_CASE("store.local: an object that is missing is noticed", "[store]") {
  testing::TestFolder folder("store-missing");
  auto copy = crashed(folder, "copy");
  tamper(copy, "DELETE FROM objects WHERE key = 'first-7'");
  CHECK(openingRefusal(copy).find("do not add up") != std::string::npos);
}

TEST_CASE("store.local: a database behind what was acknowledged is refused with both revisions",
          "[store]") {
  testing::TestFolder folder("store-behind");
  auto copy = crashed(folder, "copy");
  // The log's second half is lost, which SQLite alone does not mind.
  auto log = copy + "/state.db-wal";
  auto bytes = readFile(log);
  writeFile(log, bytes.substr(0, bytes.size() / 2));
  auto refusal = openingRefusal(copy);
  INFO(refusal);
  CHECK(refusal.find("but revision 9 (epoch 0) was acknowledged") != std::string::npos);
  auto at = refusal.find("is at revision ");
  REQUIRE(at != std::string::npos);
  uint64_t behind = std::stoull(refusal.substr(at + 15));
  CHECK(behind < 9);
  auto state = openAndDump(copy, behind);
  CHECK(state.find("revision 10 ") != std::string::npos);
  CHECK(openingRefusal(copy).empty());
}

TEST_CASE("store.local: what came after the last note is there when the log is intact", "[store]") {
  testing::TestFolder folder("store-unnoted");
  std::string live = folder.sub("live").cStr(), copy = folder.sub("copy").cStr();
  LocalStore store(smallState(live.c_str()));
  fill(store);
  for (int i = 0; i < 5; ++i)
    commitOne(store, "n" + std::to_string(i), {{"n" + std::to_string(i), 0, "x"}});
  CHECK(!store.isNoted());
  copyState(live, copy);
  CHECK(openAndDump(copy) == dump(store));
}

TEST_CASE("store.local: an acknowledged epoch that is lost is refused", "[store]") {
  testing::TestFolder folder("store-epoch");
  std::string live = folder.sub("live").cStr(), copy = folder.sub("copy").cStr();
  LocalStore store(smallState(live.c_str()));
  commitOne(store, "a", {{"a", 0, "1"}});
  store.checkpoint();
  auto log = readFile(live + "/state.db-wal");
  CHECK(store.elect("manager-1", 0).won);
  copyState(live, copy);
  writeFile(copy + "/state.db-wal", log);
  CHECK(openingRefusal(copy).find("(epoch 0), but revision 1 (epoch 1)") != std::string::npos);
}

TEST_CASE("store.local: a database ahead of what was acknowledged is what a crash leaves",
          "[store]") {
  testing::TestFolder folder("store-ahead");
  std::string live = folder.sub("live").cStr(), copy = folder.sub("copy").cStr();
  LocalStore store(smallState(live.c_str()));
  fill(store);
  auto before = readFile(live + "/revision");
  commitOne(store, "last", {{"last", 0, "x"}});
  copyState(live, copy);
  writeFile(copy + "/revision", before);
  CHECK(openAndDump(copy) == dump(store));
  // Whoever has seen it can rely on it.
  CHECK(RevisionFile(copy + "/revision").last()->revision == store.revision());
}

TEST_CASE("store.local: a file that is gone or empty is refused", "[store]") {
  testing::TestFolder folder("store-gone");
  auto copy = crashed(folder, "copy");
  auto database = readFile(copy + "/state.db");
  auto revision = readFile(copy + "/revision");
  auto refused = [&](const char* text) {
    auto refusal = openingRefusal(copy);
    INFO(refusal);
    CHECK(refusal.find(text) != std::string::npos);
  };
  writeFile(copy + "/state.db", "");
  refused("state.db' is missing or empty, but revision 9 was acknowledged");
  CHECK(std::filesystem::file_size(copy + "/state.db-wal") > 0);
  std::filesystem::remove(copy + "/state.db");
  refused("state.db' is missing or empty, but revision 9 was acknowledged");
  writeFile(copy + "/state.db", database.substr(0, 5000));
  refused("state.db' is damaged");
  writeFile(copy + "/state.db", database);
  std::filesystem::remove(copy + "/revision");
  refused("revision' is missing or damaged");
  writeFile(copy + "/revision", revision.substr(0, 10));
  refused("revision' is missing or damaged");
  writeFile(copy + "/revision", revision);
  CHECK(openingRefusal(copy).empty());
}

TEST_CASE("store.local: what a rebuilt database still has is accepted when told to", "[store]") {
  testing::TestFolder folder("store-rebuilt");
  auto copy = crashed(folder, "copy");
  auto before = openAndDump(copy);
  // As `sqlite3 .recover` leaves it: another file with the same rows, without a log.
  tamper(copy, "PRAGMA journal_mode=DELETE");
  tamper(copy, "VACUUM");
  CHECK(openAndDump(copy) == before);
  std::filesystem::remove(copy + "/revision");
  auto state = openAndDump(copy, 9);
  CHECK(state.substr(0, state.find("revision")) == before.substr(0, before.find("revision")));
}

TEST_CASE("store.local: a damaged change record makes a follower read the state again", "[store]") {
  testing::TestFolder folder("store-change");
  auto copy = crashed(folder, "copy");
  tamper(copy, "UPDATE changes SET ops = x'00' WHERE revision = 5");
  LocalStore store(smallState(copy.c_str()));
  auto first = store.changesAfter(0);
  CHECK(first.rows.size() == 4);
  CHECK(!first.gone);
  CHECK(store.changesAfter(4).gone);
  CHECK(store.changesAfter(5).rows.size() == 4);
}

}  // namespace
}  // namespace orch::store::local
