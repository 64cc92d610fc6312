// Tasks' namespaces: answered at 127.0.0.11, over restarts, and left without a trace.
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <sys/socket.h>

#include <optional>

#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "task-end.h"
#include "test-node.h"

namespace orch::network::dns {
namespace {

using Names = std::vector<std::string>;

TEST_CASE("dns: a task is answered at 127.0.0.11 by UDP and by TCP", "[network][root][netns]") {
  TestNode node("answer");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  // The socket is connected to port 53, so it takes no answer that comes from another.
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
  CHECK(read(task.ask(queryOf("tasks.db"), true)).found.size() == 3);
  CHECK(task.ask("web", AAAA).isEmpty());
  CHECK(task.ask("11.1.0.10.in-addr.arpa", PTR).found == Names{"web.1.t1.mynet."});
}

TEST_CASE("dns: a change is in force when it is answered", "[network][root][netns]") {
  TestNode node("change");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  for (int i = 3; i < 100; ++i) {
    Told change;
    change.services = {{"n1", "s-web", "web", "10.0.1." + std::to_string(i), {}}};
    node.tell(change);
    REQUIRE(task.ask("web").found == Names{change.services[0].address});
  }
}

TEST_CASE("dns: each task has the names of its networks", "[network][root][netns]") {
  TestNode node("networks");
  TestTask one(node.sub("one")), two(node.sub("two"));
  auto told = mynet();
  told.networks.push_back({"n2", "other", "10.0.2.0/24"});
  told.services.push_back({"n2", "s2", "web", "10.0.2.2", {}});
  node.tell(told);
  node.serve(one, {"n1"}, {}, "one");
  node.serve(two, {"n2"}, {}, "two");
  CHECK(one.ask("web").found == Names{"10.0.1.2"});
  CHECK(two.ask("web").found == Names{"10.0.2.2"});
  // A task that gets into another network.
  node.serve(two, {"n1", "n2"}, {}, "two");
  CHECK(two.ask("web").found == Names{"10.0.1.2"});
  CHECK(two.ask("web.other").found == Names{"10.0.2.2"});
}

TEST_CASE("dns: several queries on one connection are all answered", "[network][root][netns]") {
  TestNode node("pipeline");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  // Both queries in one segment, as glibc sends them with `options use-vc`.
  auto fd = task.client(SOCK_STREAM);
  Bytes both;
  for (auto& query : {queryOf("web", A, 0, 1), queryOf("web", AAAA, 0, 2)}) {
    both.push_back(0);
    both.push_back(query.size());
    both.insert(both.end(), query.begin(), query.end());
  }
  REQUIRE(send(fd, both.data(), both.size(), 0) == ssize_t(both.size()));
  for (uint16_t id : {1, 2}) {
    uint8_t length[2];
    REQUIRE(recv(fd, length, 2, MSG_WAITALL) == 2);
    Bytes answer(length[0] << 8 | length[1]);
    REQUIRE(recv(fd, answer.data(), answer.size(), MSG_WAITALL) == ssize_t(answer.size()));
    CHECK(read(answer).id == id);
  }
}

TEST_CASE("dns: a client that sends rubbish disturbs nobody", "[network][root][netns]") {
  TestNode node("rubbish");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  auto fd = task.client();
  uint32_t seed = 1;
  for (int i = 0; i < 2000; ++i) {
    Bytes rubbish(i % 300);
    for (auto& byte : rubbish) byte = (seed = seed * 1103515245 + 12345) >> 16;
    send(fd, rubbish.data(), rubbish.size(), MSG_DONTWAIT);
  }
  Bytes large(5000);
  send(fd, large.data(), large.size(), MSG_DONTWAIT);
  auto half = task.client(SOCK_STREAM);
  send(half, "\0", 1, 0);
  CHECK(read(task.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
}

TEST_CASE("dns: more connections than one task may have do not keep out others",
          "[network][root][netns]") {
  TestNode node("connections");
  TestTask one(node.sub("one")), two(node.sub("two"));
  node.tell(mynet());
  node.serve(one, {"n1"}, {}, "one");
  node.serve(two, {"n1"}, {}, "two");
  std::vector<kj::AutoCloseFd> held;
  for (int i = 0; i < 40; ++i) held.push_back(one.client(SOCK_STREAM));
  CHECK(read(two.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  CHECK(one.ask("web").found == Names{"10.0.1.2"});
}

TEST_CASE("dns: after a restart of orchd a task is answered again", "[network][root][netns]") {
  TestNode node("restart");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  node.crash();
  CHECK(task.ask(queryOf("web")).empty());  // refused at once
  node.run();
  node.tell(mynet());
  node.serve(task);
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
  CHECK(read(task.ask(queryOf("web"), true)).found == Names{"10.0.1.2"});
  CHECK(task.chains() == Names{"input", "output"});
}

TEST_CASE("dns: a task that got another namespace is answered there", "[network][root][netns]") {
  TestNode node("moved");
  TestTask before(node.sub("before")), after(node.sub("after"));
  node.tell(mynet());
  node.serve(before);
  node.serve(after);
  CHECK(after.ask("web").found == Names{"10.0.1.2"});
  CHECK(before.ask(queryOf("web")).empty());
  CHECK(before.chains().empty());
}

TEST_CASE("dns: to serve a task that is served changes nothing", "[network][root][netns]") {
  TestNode node("again");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  auto fd = task.client(SOCK_STREAM);
  node.serve(task);
  auto query = queryOf("web");
  query.insert(query.begin(), {0, uint8_t(query.size())});
  REQUIRE(send(fd, query.data(), query.size(), 0) == ssize_t(query.size()));
  CHECK_FALSE(receive(fd).empty());  // the connection goes on
}

TEST_CASE("dns: release leaves nothing", "[network][root][netns]") {
  TestNode node("release");
  TestTask task(node.sub("one"));
  node.tell(mynet());
  node.serve(task);
  CHECK(task.chains() == Names{"input", "output"});
  node.release();
  CHECK(task.chains().empty());
  CHECK(task.ask(queryOf("web")).empty());
  node.release();
  node.release("never-there");
  node.serve(task);
  CHECK(task.ask("web").found == Names{"10.0.1.2"});
}

TEST_CASE("dns: retain releases the tasks that nobody names", "[network][root][netns]") {
  TestNode node("retain");
  TestTask one(node.sub("one")), two(node.sub("two"));
  node.tell(mynet());
  node.serve(one, {"n1"}, {}, "one");
  node.serve(two, {"n1"}, {}, "two");
  node.retain({"two", "unknown"});
  CHECK(one.chains().empty());
  CHECK(one.ask(queryOf("web")).empty());
  CHECK(two.ask("web").found == Names{"10.0.1.2"});
}

TEST_CASE("dns: a namespace that is not there is an error that says so", "[network][root][netns]") {
  TestNode node("missing");
  auto path = node.sub("gone");
  std::optional<TestTask> task(std::in_place, path);
  task.reset();
  TestTask other(node.sub("other"));
  CHECK(errorOf([&] { node.serveAt(path); }).find("No such file or directory") !=
        std::string::npos);
  CHECK(errorOf([&] { node.serve(other, {}, {"dns.example.com"}); }) ==
        "'dns.example.com' cannot be a name server of a task: it must be an address such as "
        "10.0.0.1 or fd00::1");
  CHECK(other.chains().empty());
}

TEST_CASE("dns: a task whose namespace went first is released", "[network][root][netns]") {
  TestNode node("unpinned");
  std::optional<TestTask> task(std::in_place, node.sub("one"));
  node.tell(mynet());
  node.serve(*task);
  task.reset();
  node.release();
  // The path is free, and a new namespace there is another one.
  task.emplace(node.sub("one"));
  node.serve(*task);
  CHECK(task->ask("web").found == Names{"10.0.1.2"});
}

}  // namespace
}  // namespace orch::network::dns
