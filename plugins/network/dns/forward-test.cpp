// Names that are none of the cluster's: asked of the host's servers, or of the task's own.
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <sys/socket.h>

#include "lib/netns.h"
#include "test-node.h"

namespace orch::network::dns {
namespace {

using Names = std::vector<std::string>;

void sendTo(const kj::AutoCloseFd& client, const Bytes& query) {
  KJ_REQUIRE(::send(client, query.data(), query.size(), 0) == ssize_t(query.size()));
}

// A question or an answer but for its number.
Bytes withoutId(const Bytes& message) { return {message.begin() + 2, message.end()}; }

// A node with one served task.
struct Forwarding {
  explicit Forwarding(kj::StringPtr name) : node(name), task(node.sub("one")) {}
  void serve(Names servers = {}) {
    node.tell(mynet());
    node.serve(task, {"n1"}, kj::mv(servers));
  }
  TestNode node;
  TestTask task;
};

// Its host has one server.
struct OneServer : Forwarding {
  explicit OneServer(kj::StringPtr name) : Forwarding(name) {
    node.resolvConf("nameserver 127.0.0.53\n");
    serve();
  }
  TestServer upstream{"127.0.0.53"};
};

// A question of the client gets to the server, and its answer back.
bool relays(const kj::AutoCloseFd& client, TestServer& server, const char* address,
            const std::string& name = "example.com") {
  sendTo(client, queryOf(name));
  server.answer(answerOf(server.question(), {address}));
  return read(receive(client)).found == Names{address};
}

TEST_CASE("dns: an unknown name is asked of the host's server", "[network][root][netns]") {
  OneServer test("forward");
  for (auto* name : {"example.com", "single"}) {
    auto client = test.task.client();
    sendTo(client, queryOf(name, A, 1232, 77));
    auto question = test.upstream.question();
    REQUIRE(questionEnd(question) > 0);
    CHECK(withoutId(question) == withoutId(queryOf(name, A, 1232)));
    test.upstream.answer(answerOf(question, {"1.2.3.4"}));
    auto answer = read(receive(client));
    CHECK(answer.id == 77);
    CHECK(answer.found == Names{"1.2.3.4"});
  }
}

TEST_CASE("dns: an answer of a server is kept for those who ask the same",
          "[network][root][netns]") {
  OneServer test("kept");
  TestTask other(test.node.sub("two"));
  test.node.serve(other, {}, {}, "two");
  auto client = test.task.client();
  CHECK(relays(client, test.upstream, "1.2.3.4"));
  CHECK(other.ask("example.com").found == Names{"1.2.3.4"});
  CHECK_FALSE(test.upstream.wasAsked());
  // Other servers may say something else.
  TestServer next("127.0.0.54");
  test.node.resolvConf("nameserver 127.0.0.54\n");
  CHECK(relays(client, next, "1.2.3.5"));
}

TEST_CASE("dns: a question by TCP is asked by TCP", "[network][root][netns]") {
  OneServer test("tcp");
  auto client = test.task.client(SOCK_STREAM);
  sendFramed(client, queryOf("example.com"));
  auto question = test.upstream.questionByTcp();
  REQUIRE(questionEnd(question) > 0);
  test.upstream.answerByTcp(answerOf(question, {"1.2.3.4", "1.2.3.5"}));
  auto answer = receiveFramed(client);
  REQUIRE_FALSE(answer.empty());
  CHECK(read(answer).found.size() == 2);
}

TEST_CASE("dns: a truncated answer is handed on as it is", "[network][root][netns]") {
  OneServer test("truncated");
  auto client = test.task.client();
  sendTo(client, queryOf("example.com"));
  auto cut = answerOf(test.upstream.question(), {});
  cut[2] |= 0x02;
  test.upstream.answer(cut);
  CHECK(read(receive(client)).truncated);
}

TEST_CASE("dns: a task's own servers are asked from where it is", "[network][root][netns]") {
  Forwarding test("own");
  // The same address inside and outside.
  TestServer hosts("127.0.0.53"), own("127.0.0.53", test.task.path());
  test.node.resolvConf("nameserver 127.0.0.53\n");
  test.serve({"127.0.0.53"});
  auto client = test.task.client();
  for (int i = 0; i < 20; ++i) {  // more than the sockets that are made at once
    REQUIRE(relays(client, own, "1.2.3.4", "n" + std::to_string(i) + ".example.com"));
  }
  auto stream = test.task.client(SOCK_STREAM);
  sendFramed(stream, queryOf("example.com"));
  CHECK(questionEnd(own.questionByTcp()) > 0);
  CHECK_FALSE(hosts.wasAsked());
  // From now on the host's.
  test.serve();
  sendTo(client, queryOf("example.org"));
  CHECK(questionEnd(hosts.question()) > 0);
}

TEST_CASE("dns: a server that never answers delays nobody else", "[network][root][netns]") {
  OneServer test("silent");
  TestTask other(test.node.sub("two"));
  TestServer quick("127.0.0.54", other.path());
  test.node.serve(other, {"n1"}, {"127.0.0.54"}, "two");
  std::vector<kj::AutoCloseFd> waiting;
  for (int i = 0; i < 200; ++i) {
    waiting.push_back(test.task.client());
    sendTo(waiting.back(), queryOf("n" + std::to_string(i) + ".example.com"));
  }
  REQUIRE(questionEnd(test.upstream.question()) > 0);
  CHECK(test.task.ask("web").found == Names{"10.0.1.2"});
  CHECK(read(test.task.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  auto client = other.client();
  CHECK(relays(client, quick, "1.2.3.4"));
}

TEST_CASE("dns: one task's open questions have a limit of their own", "[network][root][netns]") {
  OneServer test("limit");
  TestTask other(test.node.sub("two"));
  test.node.serve(other, {"n1"}, {}, "two");
  auto client = test.task.client();
  uint16_t refused = 0;
  for (uint16_t i = 1; i <= 600; ++i) {
    sendTo(client, queryOf("n" + std::to_string(i) + ".example.com", A, 0, i));
    if (i % 50 != 0) continue;
    // So many at a time that the socket holds them.
    sendTo(client, queryOf("web", A, 0, 0));
    for (Answer answer;; ++refused) {
      answer = read(receive(client));
      if (answer.id == 0) break;
      REQUIRE(answer.code == 2);
    }
  }
  for (; refused < 600 - 512; ++refused) REQUIRE(read(receive(client)).code == 2);
  CHECK(test.task.ask("web").code == 0);
  uint8_t more;
  CHECK(recv(client, &more, 1, MSG_DONTWAIT) < 0);
  auto stranger = other.client();
  sendTo(stranger, queryOf("other.example.com"));
  for (;;) {
    auto question = test.upstream.question();
    REQUIRE_FALSE(question.empty());
    if (withoutId(question) != withoutId(queryOf("other.example.com"))) continue;
    test.upstream.answer(answerOf(question, {"1.2.3.4"}));
    break;
  }
  CHECK(read(receive(stranger)).found == Names{"1.2.3.4"});
}

TEST_CASE("dns: after a server that is silent or refuses the next one is asked",
          "[network][root][netns]") {
  Forwarding test("next");
  test.node.timeoutMs = 3000;
  test.node.run();
  TestServer silent("127.0.0.53"), second("127.0.0.54");
  // Nobody listens at .52: the kernel says so at once.
  test.node.resolvConf("nameserver 127.0.0.52\nnameserver 127.0.0.53\nnameserver 127.0.0.54\n");
  test.serve();
  auto client = test.task.client();
  sendTo(client, queryOf("one.example.com"));
  CHECK(questionEnd(silent.question()) > 0);
  second.answer(answerOf(second.question(), {"1.2.3.4"}));
  CHECK(read(receive(client)).found == Names{"1.2.3.4"});
  // It is asked last for a while.
  sendTo(client, queryOf("two.example.com"));
  auto question = second.question();
  CHECK_FALSE(silent.wasAsked());
  second.answer(refusalOf(question, Rcode::REFUSED));
  question = silent.question();
  REQUIRE(questionEnd(question) > 0);
  silent.answer(answerOf(question, {"1.2.3.5"}));
  CHECK(read(receive(client)).found == Names{"1.2.3.5"});
}

TEST_CASE("dns: without an answer from any server the client hears SERVFAIL",
          "[network][root][netns]") {
  Forwarding test("none-answers");
  TestServer refusing("127.0.0.54");
  test.node.resolvConf("nameserver 127.0.0.54\n");
  test.serve();
  auto client = test.task.client();
  sendTo(client, queryOf("example.com"));
  refusing.answer(refusalOf(refusing.question(), Rcode::REFUSED));
  CHECK(read(receive(client)).code == 5);
  TestServer silent("127.0.0.53");
  test.node.timeoutMs = 500;
  test.node.run();
  test.node.resolvConf("nameserver 127.0.0.53\n");
  test.serve();
  CHECK(test.task.ask("example.com").code == 2);
}

TEST_CASE("dns: with no server at all an unknown name does not exist", "[network][root][netns]") {
  Forwarding test("no-server");
  test.serve();
  CHECK(test.task.ask("example.com").code == 3);
  test.node.resolvConf("nameserver 127.0.0.11\n");  // in a circle
  CHECK(test.task.ask("example.com").code == 3);
  test.serve({"127.0.0.11"});
  CHECK(test.task.ask("example.com").code == 3);
}

TEST_CASE("dns: for a task of internal networks alone nobody is asked", "[network][root][netns]") {
  Forwarding test("closed");
  TestServer upstream("127.0.0.53");
  TestServer own("127.0.0.1", test.task.path());
  test.node.resolvConf("nameserver 127.0.0.53\n");
  test.node.closed = true;
  for (auto& servers : {Names(), Names{"127.0.0.1"}}) {
    test.serve(servers);
    CHECK(test.task.ask("example.com").code == 3);
    CHECK(read(test.task.ask(queryOf("example.com"), true)).code == 3);
    CHECK(test.task.ask("web").found == Names{"10.0.1.2"});
  }
  CHECK_FALSE(upstream.wasAsked());
  CHECK_FALSE(own.wasAsked());
  test.node.closed = false;
  test.serve();
  auto client = test.task.client();
  CHECK(relays(client, upstream, "1.2.3.4"));
}

TEST_CASE("dns: answers to other questions are not believed", "[network][root][netns]") {
  OneServer test("spoofed");
  auto client = test.task.client();
  sendTo(client, queryOf("example.com"));
  auto question = test.upstream.question();
  auto guessed = answerOf(question, {"6.6.6.6"});
  guessed[0] ^= 1;
  test.upstream.answer(guessed);
  auto other = queryOf("example.org", A, 0, idOf(question));
  test.upstream.answer(answerOf(other, {"6.6.6.6"}));
  test.upstream.answer(Bytes{1, 2, 3});
  test.upstream.answer(answerOf(question, {"1.2.3.4"}));
  CHECK(read(receive(client)).found == Names{"1.2.3.4"});
}

TEST_CASE("dns: a task that is released while it waits for an answer is gone",
          "[network][root][netns]") {
  OneServer test("released");
  auto client = test.task.client();
  sendTo(client, queryOf("example.com"));
  auto question = test.upstream.question();
  test.node.release();
  test.upstream.answer(answerOf(question, {"1.2.3.4"}));
  test.serve();
  CHECK(test.task.ask("web").found == Names{"10.0.1.2"});
}

}  // namespace
}  // namespace orch::network::dns
