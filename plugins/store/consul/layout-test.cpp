#include "layout.h"

#include <catch2/catch.hpp>

#include "lib/testing/layout-cases.h"

namespace orch::store::consul {
namespace {

TEST_CASE("store.consul: keys are in the order of kind and key", "[store]") {
  Layout layout("orch/");
  checkOrder(layout, {{"a", "z"},
                      {"a-b", "a"},
                      {"a/b", "c"},
                      {"a", "b/c"},
                      {"task", "x y"},
                      {"task-status", "a"},
                      {"ab", ""},
                      {"a", ""},
                      {"\xc3\xbc", "u"}});
  CHECK(!layout.nameOf("orch/object/"));
  CHECK(!layout.nameOf("orch/object/ x"));
  CHECK(!layout.nameOf("orch/batch/x"));
  CHECK(layout.change(9) < layout.change(10));
  CHECK(layout.change(255) == "orch/change/00000000000000ff");
}

TEST_CASE("store.consul: a value is that of its key or damaged", "[store]") {
  Layout layout("orch/"), other("moved/");
  auto value = layout.sealed("orch/object/task a", "content");
  CHECK(layout.unsealed("orch/object/task a", value) == "content");
  CHECK(other.unsealed("moved/object/task a", value) == "content");
  CHECK(!layout.unsealed("orch/object/task b", value));
  checkDamage(value, [&](auto& bad) { return layout.unsealed("orch/object/task a", bad); });
}

TEST_CASE("store.consul: the state's own records are read to the letter", "[store]") {
  Founding founding{"abc", 3, 400, "node one", 7};
  auto read = Founding::read(founding.text(), 7);
  REQUIRE(read);
  CHECK(read->text() == "abc 3 400 node one");
  CHECK((read->epoch == 3 && read->trimmed == 400 && read->leader == "node one"));
  CHECK(Founding::read("abc 0 0 ", 1)->leader.empty());
  for (auto bad : {"", "abc", "abc 3", "abc 3 4", " 3 4 x", "abc x 4 y", "abc -1 4 y"}) {
    INFO(bad);
    CHECK(!Founding::read(bad, 1));
  }
  auto head = Head::read("12 batch", 30);
  REQUIRE(head);
  CHECK((head->number == 12 && head->batch == "batch" && head->revision() == 30));
  CHECK(Head::read("0 x", 30)->revision() == 0);
  for (auto bad : {"", "12", "x 12", "-1 x"}) CHECK(!Head::read(bad, 1));
}

TEST_CASE("store.consul: a prefix is a path that consul can name", "[store]") {
  for (auto good : {"a/", "orch/", "a/b-c.d_E/9/"}) CHECK(Layout(good).all() == good);
  for (auto bad : {"", "/", "/orch/", "orch", "a b/", "a//b/", "../a/", "a/./b/", "\xc3\xbc/"}) {
    INFO(bad);
    CHECK_THROWS(Layout(bad));
  }
  CHECK_THROWS(Layout(std::string(128, 'a') + "/"));
}

}  // namespace
}  // namespace orch::store::consul
