// The cache, the host's servers, and what is believed of a server's answer.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "answer-cache.h"
#include "orch/testing/test-host.h"
#include "servers.h"
#include "test-messages.h"

namespace orch::network::dns {
namespace {

const kj::TimePoint START = kj::origin<kj::TimePoint>() + 1 * kj::HOURS;

TEST_CASE("dns: a kept answer has the asker's id and grows old", "[network]") {
  AnswerCache cache;
  auto query = queryOf("example.com");
  cache.put("", query, answerOf(query, {"1.2.3.4"}, 20), START);
  auto again = queryOf("example.com", A, 0, 99);
  auto kept = read(cache.find("", again, START + 5 * kj::SECONDS));
  CHECK(kept.id == 99);
  CHECK(kept.found == std::vector<std::string>{"1.2.3.4"});
  CHECK(kept.ttl == 15);
  CHECK(cache.find("", again, START + 20 * kj::SECONDS).empty());
  CHECK(cache.find("other", again, START).empty());
  CHECK(cache.find("", queryOf("example.com", AAAA), START).empty());
  CHECK(cache.find("", queryOf("example.com", A, 1232), START).empty());
}

TEST_CASE("dns: no answer is kept for more than 30 seconds", "[network]") {
  AnswerCache cache;
  auto query = queryOf("example.com");
  cache.put("", query, answerOf(query, {"1.2.3.4"}, 86400), START);
  CHECK_FALSE(cache.find("", query, START + 29 * kj::SECONDS).empty());
  CHECK(cache.find("", query, START + 30 * kj::SECONDS).empty());
}

TEST_CASE("dns: failures, cut answers and those without a life are not kept", "[network]") {
  AnswerCache cache;
  auto query = queryOf("example.com");
  cache.put("", query, answerOf(query, {"1.2.3.4"}, 0), START);
  cache.put("", query, answerOf(query, {}), START);
  cache.put("", query, refusalOf(query, Rcode::SERVFAIL), START);
  auto cut = answerOf(query, {"1.2.3.4"});
  cut[2] |= 0x02;
  cache.put("", query, cut, START);
  cache.put("", query, Bytes(query.begin(), query.begin() + HEADER_BYTES), START);
  CHECK(cache.size() == 0);
}

TEST_CASE("dns: the cache keeps a thousand answers, the latest", "[network]") {
  AnswerCache cache;
  for (int i = 0; i < 1500; ++i) {
    auto query = queryOf("n" + std::to_string(i) + ".example.com");
    cache.put("", query, answerOf(query, {"1.2.3.4"}), START);
    cache.put("", query, answerOf(query, {"1.2.3.5"}), START);
  }
  CHECK(cache.size() == AnswerCache::MOST);
  CHECK(cache.find("", queryOf("n499.example.com"), START).empty());
  CHECK_FALSE(cache.find("", queryOf("n500.example.com"), START).empty());
}

TEST_CASE("dns: an answer is believed if id and question are the query's", "[network]") {
  auto query = queryOf("example.com");
  CHECK(answers(answerOf(query, {"1.2.3.4"}), query));
  CHECK(answers(answerOf(queryOf("EXAMPLE.com"), {}), query));
  CHECK(answers(refusalOf(Bytes(query.begin(), query.begin() + HEADER_BYTES), Rcode::FORMERR),
                query));
  CHECK_FALSE(answers(query, query));
  CHECK_FALSE(answers(answerOf(queryOf("example.com", A, 0, 8), {}), query));
  CHECK_FALSE(answers(answerOf(queryOf("example.org"), {}), query));
  CHECK_FALSE(answers(answerOf(queryOf("example.com", AAAA), {}), query));
  CHECK_FALSE(answers(Bytes(5), query));
  // A query without a question has no answer.
  Bytes nothing(query.begin(), query.begin() + HEADER_BYTES);
  nothing[5] = 0;
  auto two = answerOf(query, {});
  two[5] = 2;
  CHECK_FALSE(answers(two, nothing));
}

TEST_CASE("dns: a server is written as an address", "[network]") {
  for (auto* text : {"10.0.0.1", "fd00::1", "fe80::1%lo", "::1"}) CHECK(parseServer(text));
  for (auto* text : {"", "dns.example.com", "10.0.0", "10.0.0.1:53", "10.0.0.1 ", "1", "0x7f.1"}) {
    CHECK_FALSE(parseServer(text));
  }
  CHECK(isOurs(*parseServer("127.0.0.11")));
  CHECK_FALSE(isOurs(*parseServer("127.0.0.53")));
}

TEST_CASE("dns: the host's servers are read again when the file has changed", "[network]") {
  testing::TestFolder folder("dns-servers");
  std::filesystem::create_directories(folder.path().cStr());
  auto path = folder.sub("resolv.conf");
  HostServers servers(path.cStr());
  CHECK(servers.current().empty());
  std::ofstream(path.cStr())
      << "# nameserver 9.9.9.9\nsearch example.com\nnameserver 127.0.0.11\n"
         "nameserver\t10.0.0.1\nnameserver fd00::1 # the other\nnameserver x\n";
  REQUIRE(servers.current().size() == 2);
  CHECK(ntohl(reinterpret_cast<const sockaddr_in&>(servers.current()[0].address).sin_addr.s_addr) ==
        0x0a000001);
  auto before = servers.generation();
  servers.current();
  CHECK(servers.generation() == before);
  // As a program replaces it: by another file of that name.
  auto next = folder.sub("next");
  std::ofstream(next.cStr()) << "nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n"
                                "nameserver 10.0.0.5\n";
  std::filesystem::rename(next.cStr(), path.cStr());
  CHECK(servers.current().size() == HostServers::MOST);
  CHECK(servers.generation() > before);
  std::filesystem::remove(path.cStr());
  CHECK(servers.current().empty());
}

}  // namespace
}  // namespace orch::network::dns
