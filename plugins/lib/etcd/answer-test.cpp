#include "answer.h"

#include <catch2/catch.hpp>

#include "http/testing/spoiled-answers.h"
#include "request.h"

namespace orch::etcd {
namespace {

// As etcd 3.4.23 answers.
const char* const TXN_ANSWER =
    R"({"header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"12",)"
    R"("raft_term":"2"},"succeeded":true,"responses":[{"response_put":{"header":{"revision":"12"}}},)"
    R"({"response_range":{"header":{"revision":"12"},"kvs":[{"key":"YQ==","create_revision":"3",)"
    R"("mod_revision":"7","version":"2","value":"YmM="}],"more":true,"count":"5"}},)"
    R"({"response_range":{"header":{"revision":"12"}}}]})";
const char* const WATCH_ANSWER =
    R"({"result":{"header":{"revision":"9"},"events":[{"kv":{"key":"YQ==","mod_revision":"9",)"
    R"("value":"eA=="}},{"type":"DELETE","kv":{"key":"Yg==","mod_revision":"9"}}]}})";
const char* const GRANT_ANSWER =
    R"({"header":{"revision":"9"},"ID":"7587895834219872262","TTL":"60"})";
const char* const KEEPALIVE_ANSWER =
    R"({"result":{"header":{"revision":"9"},"ID":"7587895834219872262","TTL":"60"}})";
const char* const REFUSED_ANSWER =
    R"({"error":"etcdserver: mvcc: database space exceeded","message":"etcdserver: mvcc: database )"
    R"(space exceeded","code":8})";

TEST_CASE("store.etcd: answers are read as etcd writes them", "[store]") {
  auto txn = readTxn(TXN_ANSWER);
  CHECK(txn.succeeded);
  CHECK(txn.header.clusterId == 14841639068965178418ull);
  CHECK(txn.header.revision == 12);
  REQUIRE(txn.ranges.size() == 3);
  CHECK(txn.at(0) == nullptr);
  CHECK(txn.at(2) == nullptr);
  REQUIRE(txn.at(1) != nullptr);
  CHECK(txn.at(1)->key == "a");
  CHECK(txn.at(1)->value == "bc");
  CHECK(txn.at(1)->createRevision == 3);
  CHECK(txn.at(1)->modRevision == 7);
  CHECK((txn.ranges[1].more && txn.ranges[1].count == 5));
  CHECK_THROWS(txn.at(3));
  // A failed condition with nothing to say: neither `succeeded` nor `responses`.
  CHECK(!readTxn(R"({"header":{"revision":"1"}})").succeeded);

  auto watch = readWatch(WATCH_ANSWER);
  REQUIRE(watch.events.size() == 2);
  CHECK((!watch.events[0].deleted && watch.events[0].kv.value == "x"));
  CHECK((watch.events[1].deleted && watch.events[1].kv.key == "b"));
  CHECK(watch.events[1].kv.modRevision == 9);
  auto compacted = readWatch(R"({"result":{"header":{},"canceled":true,"compact_revision":"7"}})");
  CHECK((compacted.canceled && compacted.compactRevision == 7));
  auto ended = readWatch(R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})");
  CHECK((ended.canceled && ended.reason == "etcdserver: no leader"));

  CHECK(readGrant(GRANT_ANSWER) == 7587895834219872262ull);
  CHECK(readKeepAlive(KEEPALIVE_ANSWER));
  CHECK(!readKeepAlive(R"({"result":{"header":{"revision":"9"},"ID":"7587895834219872262"}})"));
  CHECK(readLogin(R"({"header":{"revision":"1"},"token":"ORgEInfCQaXDHNas.12"})") ==
        "ORgEInfCQaXDHNas.12");
  CHECK_THROWS(readLogin(R"({"token":"a\r\nHost: b"})"));
  CHECK(loginRequest("a\"b", "c\\\n") == R"({"name":"a\"b","password":"c\\\u000a"})");
  CHECK_THROWS(readGrant(R"({"header":{}})"));
  CHECK_THROWS(readKeepAlive(R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})"));

  CHECK(readRefusal(REFUSED_ANSWER).code == 8);
  CHECK(readRefusal(REFUSED_ANSWER).message == "etcdserver: mvcc: database space exceeded");
}

TEST_CASE("store.etcd: of its metrics it is read whom a member has a connection with", "[store]") {
  // As etcd 3.4.23 writes them.
  CHECK(
      readConnected("# TYPE etcd_network_active_peers gauge\n"
                    "etcd_network_active_peers{Local=\"20841a002de00821\",Remote=\"248ff1817228a82b"
                    "\"} 1\n"
                    "etcd_network_active_peers{Local=\"20841a002de00821\",Remote=\"a\"} 0\n"
                    "etcd_network_active_peers{Local=\"20841a002de00821\",Remote=\"b\"} 2\n"
                    "etcd_network_disconnected_peers_total{Local=\"1\",Remote=\"c\"} 1\n") ==
      std::set<uint64_t>{0x248ff1817228a82b, 0xb});
  for (auto text :
       {"", "\n", "{\"error\":7}", "etcd_network_active_peers{",
        "etcd_network_active_peers{Remote=\"} 1", "etcd_network_active_peers{Remote=\"a",
        "etcd_network_active_peers{Remote=\"x\"} 1",
        "etcd_network_active_peers{Remote=\"11111111111111111\"} 1"}) {
    CHECK(readConnected(text).empty());
  }
}

// Every reader makes a value of the text, or says that it cannot.
void readAll(const std::string& text) {
  auto check = [&](auto&& read) { http::checkRefusal(text, read); };
  check(readTxn);
  check(readRange);
  check(readWatch);
  check(readGrant);
  check(readKeepAlive);
  check(readLogin);
  check(readRefusal);
}

TEST_CASE("store.etcd: whatever is answered is read or refused in words", "[store]") {
  for (auto text : {"",
                    "null",
                    "[]",
                    "7",
                    "{",
                    "<html>",
                    "{} {}",
                    "\xff\xfe",
                    R"({"header":7})",
                    R"({"header":{"revision":-1}})",
                    R"({"header":{"revision":"1e3"}})",
                    R"({"header":{"revision":"99999999999999999999"}})",
                    R"({"header":{"revision":1.5}})",
                    R"({"header":{"revision":"1"},"responses":7})",
                    R"({"header":{"revision":"1"},"responses":[7]})",
                    R"({"kvs":[{"key":7}]})",
                    R"({"kvs":[{"key":"???"}]})",
                    R"({"kvs":{}})",
                    R"({"result":[]})",
                    R"({"result":{"events":[{}]}})",
                    R"({"code":"x"})",
                    R"({"message":7})"}) {
    readAll(text);
  }
  CHECK_THROWS(readTxn("{}"));  // without a revision it is no answer
  readAll(std::string(100'000, '['));
  readAll("{\"kvs\":" + std::string(100'000, '['));
}

TEST_CASE("store.etcd: cut and changed answers are read or refused in words", "[store]") {
  http::spoil({TXN_ANSWER, WATCH_ANSWER, GRANT_ANSWER, KEEPALIVE_ANSWER, REFUSED_ANSWER}, readAll);
}

}  // namespace
}  // namespace orch::etcd
