#include "consul/answer.h"

#include <catch2/catch.hpp>

#include "consul/request.h"
#include "http/testing/spoiled-answers.h"

namespace orch::consul {
namespace {

// As consul 1.8.7 answers.
const char* const WRITTEN =
    R"({"Results":[{"KV":{"LockIndex":0,"Key":"o/a","Flags":0,"Value":null,"CreateIndex":7,"ModifyIndex":9}},)"
    R"({"KV":{"LockIndex":1,"Key":"o/\u0026 b","Flags":0,"Value":"YmM=","Session":"s-1","CreateIndex":7,)"
    R"("ModifyIndex":7}}],"Errors":null})";
const char* const REFUSED =
    R"({"Results":null,"Errors":[{"OpIndex":0,"What":"failed index check for key \"o/a\", current modify index 7 != 5"},)"
    R"({"OpIndex":1,"What":"key \"o/a\" exists"},{"OpIndex":2,"What":"failed to check index, key \"none\" doesn't exist"},)"
    R"({"OpIndex":3,"What":"failed to set key \"o/a\", index is stale"},{"OpIndex":6,"What":"key \"none\" doesn't exist"},)"
    R"({"OpIndex":7,"What":"Permission denied"}],"Index":0})";
const char* const KEYS =
    R"([{"LockIndex":0,"Key":"o/a","Flags":0,"Value":"YQ==","CreateIndex":7,"ModifyIndex":7}])";

TEST_CASE("consul: answers are read as consul writes them", "[consul-client]") {
  auto written = readTxn(WRITTEN);
  CHECK(written.errors.empty());
  REQUIRE(written.results.size() == 2);
  CHECK((written.of("o/a") != nullptr && written.of("o/a")->modifyIndex == 9));
  CHECK(written.results[1].key == "o/& b");
  CHECK(written.results[1].value == "bc");
  CHECK(written.results[1].session == "s-1");
  CHECK(written.of("o/c") == nullptr);
  auto refused = readTxn(REFUSED);
  REQUIRE(refused.errors.size() == 6);
  for (size_t i = 0; i < 5; ++i) CHECK(refused.errors[i].isCondition());
  CHECK(!refused.errors[5].isCondition());
  CHECK((refused.errors[2].isMissing() && !refused.errors[1].isMissing()));
  CHECK(refused.errorAt(6)->isMissing());
  CHECK(refused.errorAt(5) == nullptr);
  CHECK(readTxn(R"({"Results":null,"Errors":null})").results.empty());
  auto keys = readKeys(KEYS);
  REQUIRE(keys.size() == 1);
  CHECK((keys[0].value == "a" && keys[0].modifyIndex == 7));
  CHECK(readNames(R"(["o/a","o/& b"])") == std::vector<std::string>{"o/a", "o/& b"});
  CHECK(readSession(R"({"ID":"2809a754"})") == "2809a754");
  CHECK(readIndex("17") == 17);
}

// Every reader makes a value of the text, or says that it cannot.
void readAll(const std::string& text) {
  auto check = [&](auto&& read) { http::checkRefusal(text, read); };
  check(readTxn);
  check(readKeys);
  check(readNames);
  check(readSession);
  check(readIndex);
}

TEST_CASE("consul: whatever is answered is read or refused in words", "[consul-client]") {
  for (auto text : {"",
                    "null",
                    "[]",
                    "7",
                    "{",
                    "<html>",
                    "{} {}",
                    "\xff\xfe",
                    "[7]",
                    "[{}]",
                    R"({"Results":7})",
                    R"({"Results":[7]})",
                    R"({"Results":[{}]})",
                    R"({"Results":[{"KV":7}]})",
                    R"({"Errors":[7]})",
                    R"({"Errors":[{"OpIndex":-1,"What":"x"}]})",
                    R"([{"Key":7}])",
                    R"([{"Key":"a","Value":"???"}])",
                    R"([{"ModifyIndex":1.5}])",
                    R"({"ID":7})"}) {
    readAll(text);
  }
  CHECK_THROWS(readTxn("{}"));
  CHECK_THROWS(readSession("{}"));
  CHECK_THROWS(readIndex("-1"));
  readAll(std::string(100'000, '['));
}

TEST_CASE("consul: cut and changed answers are read or refused in words", "[consul-client]") {
  http::spoil({WRITTEN, REFUSED, KEYS}, readAll);
}

TEST_CASE("consul: a transaction is written to the letter", "[consul-client]") {
  TxnRequest txn;
  txn.get("a").checkIndex("k\"\\\xc3\xbc", 7);
  CHECK(!txn.writes());
  txn.create("b", "v").erase("c", 9).lock("d", "", "s");
  CHECK(txn.writes());
  CHECK(txn.size() == 5);
  CHECK(txn.text() ==
        "[{\"KV\":{\"Verb\":\"get\",\"Key\":\"a\"}},"
        "{\"KV\":{\"Verb\":\"check-index\",\"Key\":\"k\\\"\\\\\xc3\xbc\",\"Index\":7}},"
        "{\"KV\":{\"Verb\":\"cas\",\"Key\":\"b\",\"Value\":\"dg==\",\"Index\":0}},"
        "{\"KV\":{\"Verb\":\"delete-cas\",\"Key\":\"c\",\"Index\":9}},"
        "{\"KV\":{\"Verb\":\"lock\",\"Key\":\"d\",\"Value\":\"\",\"Session\":\"s\"}}]");
  CHECK((isKey("a b/\xc3\xbc") && !isKey("") && !isKey("a\n") && !isKey("\xff")));
  CHECK(!isKey("\xed\xa0\x80"));  // a surrogate
}

}  // namespace
}  // namespace orch::consul
