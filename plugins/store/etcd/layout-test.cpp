#include "layout.h"

#include <catch2/catch.hpp>

#include "etcd/request.h"
#include "http/endpoint.h"
#include "lib/testing/layout-cases.h"
#include "orch/attempt.h"

namespace orch::store::etcd {
namespace {

using orch::etcd::endOf;

TEST_CASE("store.etcd: keys are in the order of kind and key", "[store]") {
  Layout layout("/orch/");
  KindsAndKeys names{{"a", "z"},      {"a-b", "a"},         {"a/b", "c"}, {"a", "b/c"},
                     {"task", "x y"}, {"task-status", "a"}, {"ab", ""},   {"task", "\xff\xfe"},
                     {"a", ""},       {"\xc3\xbc", "u"}};
  checkOrder(layout, names);
  for (auto& [kind, key] : names) {
    auto whole = layout.object(kind, key);
    CHECK((whole >= layout.objects() && whole < endOf(layout.objects())));
  }
  CHECK(!layout.nameOf("/orch/object/"));
  CHECK(!layout.nameOf("/orch/object/ x"));
  CHECK(!layout.nameOf("/orch/batch/x"));
  CHECK(endOf(std::string("a\xff\xff")) == "b");
  CHECK(endOf("\xff") == std::string(1, '\0'));
}

TEST_CASE("store.etcd: a value is that of its key or damaged", "[store]") {
  Layout layout("/orch/"), other("/moved/");
  auto value = layout.seal("/orch/object/task a", "content");
  CHECK(layout.unseal("/orch/object/task a", value) == "content");
  CHECK(other.unseal("/moved/object/task a", value) == "content");
  CHECK(!layout.unseal("/orch/object/task b", value));
  checkDamage(value, [&](auto& bad) { return layout.unseal("/orch/object/task a", bad); });
  auto nothing = layout.seal("/orch/batch/b", "");
  CHECK(layout.unseal("/orch/batch/b", nothing) == "");
}

TEST_CASE("store.etcd: the state's own record is read to the letter", "[store]") {
  Founding founding{"abc", 3, 400};
  auto read = Founding::read(founding.text());
  REQUIRE(read);
  CHECK(read->text() == "abc 3 400");
  for (auto bad : {"", "abc", "abc 3", "abc 3 ", " 3 4", "abc x 4", "abc 3 4 5", "abc -1 4"}) {
    INFO(bad);
    CHECK(!Founding::read(bad));
  }
}

TEST_CASE("store.etcd: an endpoint is a host and a port, over HTTP or TLS", "[store]") {
  auto read = [](const char* url) {
    auto parsed = attemptNow([&] { return http::Endpoint::parse(url); });
    if (!parsed.ok()) return std::string(parsed.message().cStr());
    auto& made = parsed.value();
    return made.host + " " + std::to_string(made.port) + (made.secure ? " tls" : "");
  };
  CHECK(read("http://127.0.0.1:2379") == "127.0.0.1 2379");
  CHECK(read("https://etcd-1.example.com:23790/") == "etcd-1.example.com 23790 tls");
  CHECK(read("http://[fd00::1]:2379") == "fd00::1 2379");
  for (auto bad : {"", "10.0.0.1:2379", "ftp://a:1", "http://a", "http://:1", "http://a:0",
                   "http://a:65536", "http://a:1/x", "http://a b:1", "http://fd00::1:2379",
                   "http://u:p@a:1", "http://a\r\nb:1"}) {
    INFO(bad);
    CHECK(read(bad).find("is no address of a server; accepted: http://host:port") !=
          std::string::npos);
  }
}

TEST_CASE("store.etcd: a prefix is a path of printable characters", "[store]") {
  for (auto good : {"/a/", "/orch/", "//", "/a/b-c/"}) CHECK(Layout(good).all() == good);
  for (auto bad : {"", "/", "orch/", "/orch", "/a b/", "/\xc3\xbc/"}) {
    INFO(bad);
    CHECK_THROWS(Layout(bad));
  }
  CHECK_THROWS(Layout("/" + std::string(127, 'a') + "/"));
}

}  // namespace
}  // namespace orch::store::etcd
