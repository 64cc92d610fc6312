#include <capnp/message.h>
#include <catch2/catch.hpp>

#include "union-table.h"

namespace orch::control::discovery {
namespace {

using Addresses = std::vector<std::string>;

struct Table {
  UnionTable table{{3, 1000}};
  std::optional<UnionTable::MassLoss> answer(const char* backend, const Addresses& all,
                                             int64_t nowMs = 0) {
    capnp::MallocMessageBuilder message;
    auto list = message.initRoot<schema::DiscoverySink::EntriesParams>().initEntries(all.size());
    for (uint32_t i = 0; i < all.size(); ++i) list[i].setAddress(all[i].c_str());
    return table.answer(backend, list.asReader(), nowMs);
  }
  std::string text() {
    std::string all;
    for (auto& [address, row] : table.rows()) {
      all += (all.empty() ? "" : " ") + address + (row.held ? "!" : "");
    }
    return all;
  }
};

Addresses hosts(int from, int to) {
  Addresses all;
  for (int n = from; n <= to; ++n) all.push_back("h" + std::to_string(n) + ":1");
  return all;
}

TEST_CASE("union: an entry lives while any backend has it", "[discovery]") {
  Table table;
  table.answer("a", {"x:1", "y:1", "z:1"});
  table.answer("b", {"x:1"});
  CHECK(table.text() == "x:1 y:1 z:1");
  CHECK(table.table.rows().at("x:1").backends == Addresses{"a", "b"});
  CHECK(!table.answer("a", {"y:1", "z:1"}));
  CHECK(table.text() == "x:1 y:1 z:1");
  CHECK(table.table.rows().at("x:1").backends == Addresses{"b"});
  table.table.forget("b");
  CHECK(table.text() == "y:1 z:1");
}

TEST_CASE("union: an empty answer removes nobody", "[discovery]") {
  Table table;
  table.answer("a", {"x:1"});
  auto version = table.table.version();
  CHECK(!table.answer("a", {}));
  CHECK(table.text() == "x:1");
  CHECK(table.table.version() == version);
}

TEST_CASE("union: up to a third may go at once, more is held", "[discovery]") {
  Table table;
  table.answer("a", hosts(1, 9));
  CHECK(!table.answer("a", hosts(1, 6), 10));  // three of nine
  CHECK(table.text() == "h1:1 h2:1 h3:1 h4:1 h5:1 h6:1");
  auto loss = table.answer("a", hosts(1, 3), 20);
  REQUIRE(loss);
  CHECK(loss->lost == 3);
  CHECK(loss->of == 6);
  CHECK(table.text() == "h1:1 h2:1 h3:1 h4:1! h5:1! h6:1!");
  CHECK(!table.answer("a", hosts(1, 3), 30));  // the same once more is no further loss
  CHECK(!table.answer("a", hosts(1, 4), 40));  // one has come back
  CHECK(table.text() == "h1:1 h2:1 h3:1 h4:1 h5:1! h6:1!");
  table.table.expire(1019);
  CHECK(table.table.countOf("a").held == 2);
  CHECK(table.table.nextExpiryMs() == 1020);
  table.table.expire(1020);
  CHECK(table.text() == "h1:1 h2:1 h3:1 h4:1");
  CHECK(!table.table.nextExpiryMs());
}

TEST_CASE("union: a loss in small steps counts with what is held already", "[discovery]") {
  Table table;
  table.answer("a", hosts(1, 9));
  REQUIRE(table.answer("a", hosts(1, 4), 0));
  REQUIRE(table.answer("a", hosts(1, 3), 10));
  CHECK(table.table.countOf("a").held == 6);
  CHECK(table.table.countOf("a").entries == 9);
  Table two;
  two.answer("a", {"x:1", "y:1"});
  CHECK(two.answer("a", {"x:1"}));  // one of two is more than a third
  Table other;
  other.answer("a", {"x:1"});
  CHECK(other.answer("a", {"y:1"}));
  CHECK(other.text() == "x:1! y:1");
}

TEST_CASE("union: an address is described by the backend that knows most of it", "[discovery]") {
  UnionTable table({3, 1000});
  capnp::MallocMessageBuilder message;
  auto list = message.initRoot<schema::DiscoverySink::EntriesParams>().initEntries(1);
  list[0].setAddress("x:1");
  table.answer("a", list.asReader(), 0);
  auto version = table.version();
  table.answer("a", list.asReader(), 0);
  CHECK(table.version() == version);
  list[0].setRole(schema::DiscoveryEntry::Role::MANAGER);
  list[0].setNodeId("n1");
  table.answer("b", list.asReader(), 0);
  CHECK(table.rows().at("x:1").entry.getNodeId() == "n1");
  CHECK(table.version() > version);
}

}  // namespace
}  // namespace orch::control::discovery
