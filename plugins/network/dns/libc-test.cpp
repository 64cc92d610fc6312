// What real resolvers make of it: glibc's, musl's, busybox's.
#include <catch2/catch.hpp>

#include <algorithm>
#include <fstream>

#include "lib/netns.h"
#include "test-node.h"

namespace orch::network::dns {
namespace {

using Catch::Matchers::Contains;

// A node with one served task, whose programs see a resolv.conf as docker and orch write it.
struct Client {
  explicit Client(kj::StringPtr name, Told told = mynet()) : node(name), task(node.sub("one")) {
    node.tell(told);
    node.serve(task);
    resolvConf("nameserver 127.0.0.11\n");
  }
  void resolvConf(const std::string& text) { std::ofstream(node.sub("task.conf")) << text; }
  std::string run(const std::string& command) { return task.run(node.sub("task.conf"), command); }

  TestNode node;
  TestTask task;
};

size_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }
TEST_CASE("dns: glibc finds services, tasks and addresses' names", "[network][root][netns]") {
  Client client("glibc");
  CHECK_THAT(client.run("getent ahostsv4 web"), Contains("10.0.1.2"));
  CHECK_THAT(client.run("getent hosts web.1"), Contains("10.0.1.11"));
  CHECK_THAT(client.run("getent ahosts web.mynet"), Contains("10.0.1.2"));  // A and AAAA
  CHECK_THAT(client.run("getent hosts 10.0.1.11"), Contains("web.1.t1.mynet"));
  CHECK(lines(client.run("getent ahostsv4 tasks.db")) == 9);  // three of three kinds of socket
  CHECK(client.run("getent hosts nobody") == "");
}

TEST_CASE("dns: glibc finds names by its search list and by TCP", "[network][root][netns]") {
  Client client("glibc-search");
  client.resolvConf("nameserver 127.0.0.11\nsearch example.com mynet\noptions use-vc\n");
  CHECK_THAT(client.run("getent ahosts web"), Contains("10.0.1.2"));
  client.resolvConf("nameserver 127.0.0.11\nsearch example.com\noptions ndots:0\n");
  CHECK_THAT(client.run("getent ahosts web"), Contains("10.0.1.2"));
}

TEST_CASE("dns: glibc asks by TCP what does not fit", "[network][root][netns]") {
  Told told = mynet();
  for (int i = 1; i <= 100; ++i) {
    auto number = std::to_string(i);
    told.peers.push_back({"n1", "x" + number, "s-db", "db.x" + number, "10.0.2." + number});
  }
  Client client("glibc-large", told);
  CHECK(lines(client.run("getent ahostsv4 tasks.db")) == 309);
}

TEST_CASE("dns: busybox finds services, tasks and addresses' names", "[network][root][netns]") {
  Client client("busybox");
  CHECK_THAT(client.run("busybox nslookup web"), Contains("10.0.1.2"));
  CHECK_THAT(client.run("busybox nslookup web.1.mynet"), Contains("10.0.1.11"));
  CHECK_THAT(client.run("busybox nslookup 10.0.1.11"), Contains("web.1.t1.mynet"));
  CHECK_THAT(client.run("busybox nslookup nobody"), Contains("NXDOMAIN"));
}

TEST_CASE("dns: musl finds services and tasks, with a search list too", "[network][root][netns]") {
  Client client("musl");
  CHECK_THAT(client.run(MUSL_LOOKUP " web"), Contains("10.0.1.2"));
  CHECK_THAT(client.run(MUSL_LOOKUP " web.1.mynet"), Contains("10.0.1.11"));
  CHECK(lines(client.run(MUSL_LOOKUP " tasks.db")) == 3);
  CHECK_THAT(client.run(MUSL_LOOKUP " nobody"), Contains("Name does not resolve"));
  client.resolvConf("nameserver 127.0.0.11\nsearch example.com mynet.example.com\n");
  CHECK_THAT(client.run(MUSL_LOOKUP " web"), Contains("10.0.1.2"));
}

}  // namespace
}  // namespace orch::network::dns
