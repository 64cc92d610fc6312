#include "revision-file.h"

#include <catch2/catch.hpp>

#include "orch/testing/test-host.h"
#include "test-store.h"

namespace orch::store::local {
namespace {

TEST_CASE("revision file: keeps the last state that was written", "[store]") {
  testing::TestFolder folder("revision-file");
  std::string path = folder.sub("revision").cStr();
  RevisionFile::create(path, {1, 2, 3, 4});
  for (uint64_t i = 5; i < 10; ++i) {
    RevisionFile file(path);
    CHECK(file.last()->revision == (i == 5 ? 1 : i - 1));
    file.write({i, 2, 3, 4});
  }
  RevisionFile file(path);
  CHECK(*file.last() == Acknowledged{9, 2, 3, 4});
  CHECK(!file.oneSlotDamaged());
  CHECK(readFile(path).size() == 2 * RevisionFile::SLOT_BYTES);
}

TEST_CASE("revision file: a write that was cut leaves the one before", "[store]") {
  testing::TestFolder folder("revision-torn");
  std::string path = folder.sub("revision").cStr();
  RevisionFile::create(path, {1, 0, 0, 0});
  auto before = readFile(path);
  RevisionFile(path).write({2, 0, 0, 0});
  auto after = readFile(path);
  // The slot that differs, cut at every byte that a disk could have stopped at.
  for (size_t cut = 0; cut < after.size(); ++cut) {
    if (before[cut] == after[cut]) continue;
    writeFile(path, after.substr(0, cut) + before.substr(cut));
    auto last = RevisionFile(path).last();
    REQUIRE(last.has_value());
    REQUIRE(last->revision == 1);
  }
}

TEST_CASE("revision file: with both slots damaged it knows nothing", "[store]") {
  testing::TestFolder folder("revision-damaged");
  std::string path = folder.sub("revision").cStr();
  RevisionFile::create(path, {7, 0, 0, 0});
  auto bytes = readFile(path);
  bytes[20] ^= 1;
  writeFile(path, bytes);
  CHECK(RevisionFile(path).oneSlotDamaged());
  CHECK(RevisionFile(path).last()->revision == 7);
  bytes[RevisionFile::SLOT_BYTES + 20] ^= 1;
  writeFile(path, bytes);
  CHECK(!RevisionFile(path).last().has_value());
}

}  // namespace
}  // namespace orch::store::local
