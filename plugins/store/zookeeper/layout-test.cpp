#include "layout.h"

#include <catch2/catch.hpp>

#include <set>

#include "lib/testing/layout-cases.h"

namespace orch::store::zookeeper {
namespace {

TEST_CASE("store.zookeeper: names of objects are those of nodes, and back", "[store]") {
  Layout layout("/orch");
  CHECK(nameOf("task", "a") == "task:a");
  CHECK(nameOf("task", "a/b \xc3\xbc") == "task:a%2Fb%20%C3%BC");
  CHECK(layout.object("task:a").starts_with("/orch/object/"));
  CHECK(layout.object("task:a").ends_with("/task:a"));
  CHECK(layout.object("task:a").size() == std::string("/orch/object/00/task:a").size());
  std::set<std::string> folders;
  for (int i = 0; i < 5000; ++i) {
    auto path = layout.object(nameOf("task", std::to_string(i)));
    folders.insert(path.substr(0, path.rfind('/')));
  }
  CHECK(folders.size() == Layout::FOLDERS);
  for (auto& folder : folders) {
    CHECK(std::stoul(folder.substr(folder.rfind('/') + 1), nullptr, 16) < Layout::FOLDERS);
  }
  for (std::string key : {"a", ".", "..", "a:b", "%", "%41", "a b", "\x01\x7f\xff", "zookeeper"}) {
    auto read = readName(nameOf("kind", key));
    REQUIRE(read);
    CHECK((read->kind == "kind" && read->key == key));
  }
  for (auto bad : {"", "task", ":a", "task:", "task:a%", "task:a%4", "task:a%4x", "task:a/b",
                   "task:a b", "task:%41%"}) {
    INFO(bad);
    CHECK(!readName(bad));
  }
  for (bool applied : {true, false}) {
    auto read = BatchRecord::read(BatchRecord{12, applied, "a+b-c"}.name());
    REQUIRE(read);
    CHECK((read->number == 12 && read->applied == applied && read->id == "a+b-c"));
  }
  for (auto bad : {"", "12", "12+", "+a", "x+a", "12+a b", "-1+a"}) {
    INFO(bad);
    CHECK(!BatchRecord::read(bad));
  }
}

TEST_CASE("store.zookeeper: a value is that of its node or damaged", "[store]") {
  auto value = sealObject("task:a", 7, "content");
  auto read = unsealObject("task:a", value);
  REQUIRE(read);
  CHECK((read->revision == 7 && read->value == "content"));
  CHECK(!unsealObject("task:b", value));
  checkDamage(value, [&](auto& bad) { return unsealObject("task:a", bad); });
}

TEST_CASE("store.zookeeper: a record has a batch's values up to a limit", "[store]") {
  capnp::MallocMessageBuilder message;
  auto batch = message.initRoot<schema::Batch>();
  batch.setId("b");
  auto ops = batch.initOps(4);
  std::string large(MAX_RECORDED_BYTES, 'l');
  for (uint32_t i = 0; i < 4; ++i) {
    ops[i].setKind("task");
    ops[i].setKey(std::to_string(i).c_str());
  }
  ops[0].setPut(kj::StringPtr("small").asBytes());
  ops[1].setPut(kj::arrayPtr(large.data(), large.size()).asBytes());
  ops[2].setDelete();
  ops[3].setPut(nullptr);
  auto sealed = sealChange(3, batch.asReader());
  CHECK(sealed.size() < 1000);
  auto change = unsealChange(3, sealed);
  REQUIRE(change);
  CHECK(change->applied);
  CHECK(change->left == std::vector<bool>{false, true, false, false});
  BatchReader reader(change->batch);
  auto read = reader.get().getOps();
  CHECK(read[0].getPut() == kj::StringPtr("small").asBytes());
  CHECK(read[1].getPut().size() == 0);
  CHECK(read[2].isDelete());
  CHECK(read[3].isPut());
  CHECK(!unsealChange(4, sealed));
  CHECK(!unsealChange(3, sealed.substr(1)));
  auto none = unsealChange(5, sealNoChange(5));
  REQUIRE(none);
  CHECK(!none->applied);
}

TEST_CASE("store.zookeeper: the state's own nodes are read to the letter", "[store]") {
  for (auto* leader : {"", "n1", "a b"}) {
    auto read = Founding::read(Founding{"abc", 3, leader}.text());
    REQUIRE(read);
    CHECK((read->id == "abc" && read->epoch == 3 && read->leader == leader));
  }
  for (auto bad : {"", "abc", "abc x n", " 3 n", "abc -1 n"}) {
    INFO(bad);
    CHECK(!Founding::read(bad));
  }
  auto head = Head::read(Head{12, 11, 3}.text());
  REQUIRE(head);
  CHECK((head->number == 12 && head->revision == 11 && head->first == 3 && head->sum == 0));
  // As it was written before there were sums.
  auto old = Head::read("0 0 1");
  REQUIRE(old);
  CHECK((!old->sum && old->text() == "0 0 1"));
  CHECK(Head::read("1 1 1 18446744073709551615")->sum == UINT64_MAX);
  for (auto bad : {"", "1", "1 1", "1 1 ", "1 2 1", "1 1 0", "1 1 3", "1 1 1 x", "1 1 1 ",
                   "1 1 1 1 1", "x 1 1"}) {
    INFO(bad);
    CHECK(!Head::read(bad));
  }
}

TEST_CASE("store.zookeeper: a prefix is a path as ZooKeeper takes them", "[store]") {
  for (auto good : {"/a", "/orch", "/a/b-c", "/a/..b"}) CHECK(Layout(good).top() == good);
  for (auto bad : {"", "/", "orch", "/orch/", "/a b", "/\xc3\xbc", "/a//b", "/.", "/a/../b",
                   "/zookeeper", "/zookeeper/x"}) {
    INFO(bad);
    CHECK_THROWS(Layout(bad));
  }
  CHECK_THROWS(Layout("/" + std::string(128, 'a')));
}

}  // namespace
}  // namespace orch::store::zookeeper
