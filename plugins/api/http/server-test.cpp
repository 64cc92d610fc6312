#include "server.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "test-served.h"

namespace orch::api::http {
namespace {

TEST_CASE("server: one connection is asked again and again", "[api]") {
  Served served;
  auto client = served.client();
  for (auto path : {"/a", "/b"}) {
    std::string head;
    CHECK(client.send(get(path)).answer(&head) == path);
    CHECK(head.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(head.find("Content-Type: text/plain\r\n") != std::string::npos);
    CHECK(head.find("Connection: close") == std::string::npos);
  }
  client.send(get("/c") + get("/d"));
  CHECK(client.answer() == "/c");
  CHECK(client.answer() == "/d");
  CHECK(served.figures().accepted == 1);
}

TEST_CASE("server: HEAD has the head alone, and HTTP/1.0 ends the connection", "[api]") {
  Served served;
  auto client = served.client();
  auto head = client.send("HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n").read("\r\n\r\n");
  CHECK(head.find("Content-Length: 4\r\n") != std::string::npos);
  CHECK(client.send(get("/next")).answer() == "/next");
  auto old = served.ask("GET /abc HTTP/1.0\r\n\r\n");
  CHECK(old.starts_with("HTTP/1.0 200 OK\r\n"));
  CHECK(old.ends_with("\r\n\r\n/abc"));
}

TEST_CASE("server: what cannot be served is told so in one line and ends the connection", "[api]") {
  Served served;
  struct Row {
    std::string request;
    const char* status;
    const char* why;
  };
  const Row rows[] = {
      {"nonsense\r\n\r\n", "400 Bad Request", "this is no request of HTTP/1.1: "},
      {"GET / HTTP/3.0\r\n\r\n", "400 Bad Request", "this is no request of HTTP/1.1: "},
      {"GET /%zz HTTP/1.1\r\n\r\n", "400 Bad Request", "the path of the request cannot be read"},
      {"GET http://a/ HTTP/1.1\r\n\r\n", "400 Bad Request", "the path of the request cannot be"},
      {"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "413 Payload Too Large",
       "a POST has no body here"},
      {"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
       "413 Payload Too Large", "a POST has no body here"},
      {"DELETE /a HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "only GET, HEAD and"},
      {"GET / HTTP/1.1\r\nX: " + std::string(64 << 10, 'a') + "\r\n\r\n",
       "431 Request Header Fields Too Large", "the head of a request may have 16 KiB"},
      {"GET /" + std::string(32 << 10, 'a') + " HTTP/1.1\r\n\r\n",
       "431 Request Header Fields Too Large", "the head of a request may have 16 KiB"},
  };
  for (auto& row : rows) {
    INFO(row.request.substr(0, 60));
    auto answer = served.ask(row.request);
    CHECK(answer.starts_with(std::string("HTTP/1.1 ") + row.status + "\r\n"));
    CHECK(answer.find(std::string("\r\n\r\n{\"error\":\"") + row.why) != std::string::npos);
    CHECK(answer.find("Connection: close\r\n") != std::string::npos);
  }
  CHECK(served.figures().refused == std::size(rows));
  CHECK(KJ_ASSERT_NONNULL(served.server).answers().empty());  // none of them came to the loop
}

TEST_CASE("server: errors of the cluster have the status that fits them", "[api]") {
  Served served;
  auto client = served.client();
  std::string head;
  CHECK(client.send(get("/fail")).answer(&head) == "{\"error\":\"no service 'web'\"}\n");
  CHECK(head.starts_with("HTTP/1.1 404 "));
  CHECK(client.send(get("/usage")).answer(&head) ==
        "{\"error\":\"the state must be another one\"}\n");
  CHECK(head.starts_with("HTTP/1.1 400 "));
  CHECK(client.send(get("/busy")).answer(&head) == "{\"error\":\"no answer within 5 ms\"}\n");
  CHECK(head.starts_with("HTTP/1.1 503 "));
}

TEST_CASE("server: a client that does not come to the end of its head is told so", "[api]") {
  Served served([](NetSettings& settings) { settings.requestMs = 50; });
  auto answer = served.client().send("GET / HTTP/1.1\r\nX: ").read();
  CHECK(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
  CHECK(served.client().read() == "");  // one that says nothing hears nothing
}

TEST_CASE("server: past its limit of connections others are told so, until one ends", "[api]") {
  Served served([](NetSettings& settings) { settings.maxConnections = 1; });
  kj::Maybe<TestClient> first;
  CHECK(first.emplace(served.client()).send(get("/a")).answer() == "/a");
  auto second = served.client();
  CHECK(second.answer() == "{\"error\":\"too many connections are open\"}");
  CHECK(second.read() == "");
  first = nullptr;
  served.until("the first has ended", [&] { return served.figures().connections == 0; });
  CHECK(served.client().send(get("/b")).answer() == "/b");
}

TEST_CASE("server: a large answer comes whole, and one that nobody reads goes with its client",
          "[api]") {
  Served served;
  auto client = served.client();
  CHECK(client.send(get("/large")).answer().size() == 3 << 20);
  {
    auto idle = served.client();
    idle.send(get("/large"));
    idle.read("\r\n\r\n");
  }
  served.until("it has ended", [&] { return served.figures().connections == 1; });
  CHECK(client.send(get("/a")).answer() == "/a");
}

TEST_CASE("server: what clients do not take has a limit", "[api]") {
  Served served;
  served.site.large = Net::MAX_BYTES - 1000;
  auto idle = served.client();
  idle.send(get("/large")).read("\r\n\r\n");
  served.site.large = 3 << 20;
  std::string head;
  auto other = served.client();
  CHECK(other.send(get("/large")).answer(&head).starts_with("{\"error\":\"too much is being sent"));
  CHECK(head.starts_with("HTTP/1.1 503 "));
  CHECK(other.send(get("/small")).answer() == "/small");
  { auto gone = kj::mv(idle); }
  served.until("it is free again", [&] { return served.figures().bytes == 0; });
  CHECK(other.send(get("/large")).answer().size() == 3 << 20);
}

TEST_CASE("server: parts come as they are sent, and end with their client", "[api]") {
  Served served;
  auto all = served.ask(get("/parts"));
  CHECK(all.find("Transfer-Encoding: chunked\r\n") != std::string::npos);
  CHECK(all.ends_with("\r\n\r\n7\r\npart 0\n\r\n7\r\npart 1\n\r\n7\r\npart 2\n\r\n0\r\n\r\n"));
  CHECK(served.ask("GET /parts HTTP/1.0\r\n\r\n").ends_with("\r\n\r\npart 0\npart 1\npart 2\n"));
  served.site.most = 1 << 30;  // for ever
  {
    auto client = served.client();
    client.send(get("/parts")).read("part 100\n");
    CHECK(served.site.waiting == 1);
  }
  served.until("it is over", [&] { return served.site.waiting == 0; });
  served.until("nothing is kept", [&] { return KJ_ASSERT_NONNULL(served.server).open() == 0; });
}

TEST_CASE("server: ends while requests are under way", "[api]") {
  Served served;
  auto client = served.client();
  client.send(get("/wait"));
  auto other = served.client();
  served.site.most = 1 << 30;
  other.send(get("/parts")).read("part 3\n");
  served.until("both are served", [&] { return served.site.waiting == 2; });
  served.server = nullptr;
  CHECK(served.site.waiting == 0);
  CHECK(client.read() == "");
}

TEST_CASE("server: says which address it cannot have", "[api]") {
  Served served;
  auto taken = "127.0.0.1:" + std::to_string(served.port());
  auto error = attemptNow([&] {
    NetSettings settings;
    settings.listen = taken;
    Server(*served.env, served.site, settings);
  });
  CHECK(error.message().startsWith(
      kj::str("cannot listen on '", taken.c_str(), "': Address already in use; ")));
  bool loopback = false;
  for (auto bad : {"", "80", ":80", "here:80", "::1:80", "[127.0.0.1]:80", "127.0.0.1:65536",
                   "127.0.0.1:", "127.0.0.1:8o"}) {
    INFO(bad);
    CHECK(problemOf(bad, loopback) != "");
  }
  CHECK(problemOf("0.0.0.0:80", loopback) == "");
  CHECK_FALSE(loopback);
  CHECK(problemOf("[::1]:80", loopback) == "");
  CHECK(loopback);
}

}  // namespace
}  // namespace orch::api::http
