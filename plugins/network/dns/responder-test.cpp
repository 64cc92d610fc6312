// Which names there are, and what is said of them. No sockets.
#include "responder.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "test-messages.h"

namespace orch::network::dns {
namespace {

using Names = std::vector<std::string>;

class Book final {
 public:
  explicit Book(const Told& told = mynet()) { tell(told); }
  void tell(const Told& told) {
    capnp::MallocMessageBuilder message;
    auto change = message.initRoot<schema::NetworkChange>();
    write(told, change);
    tables.apply(change.asReader());
  }
  Responder::Verdict verdict(const Bytes& query) {
    return responder.respond(query, networks, false, last);
  }
  bool forwards(const std::string& name, uint16_t type = A) {
    return verdict(queryOf(name, type)) == Responder::Verdict::FORWARD;
  }
  Answer ask(const std::string& name, uint16_t type = A, uint16_t edns = 0, bool tcp = false) {
    auto said = responder.respond(queryOf(name, type, edns), networks, tcp, last);
    return said == Responder::Verdict::ANSWER ? read(last) : Answer();
  }
  Names addresses(const std::string& name) { return ask(name).found; }
  Names sorted(const std::string& name) {
    auto found = addresses(name);
    std::sort(found.begin(), found.end());
    return found;
  }

  Names networks{"n1"};
  Bytes last;

 private:
  Tables tables;
  Responder responder{tables, 5};
};

// A service of so many tasks without a virtual address.
Told many(size_t count) {
  Told told;
  told.networks = {{"n1", "mynet", "10.0.0.0/8"}};
  told.services = {{"n1", "s", "many", "", {}}};
  for (size_t i = 0; i < count; ++i) {
    auto number = std::to_string(i);
    auto address = "10.1." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250);
    told.peers.push_back({"n1", "t" + number, "s", "many." + number, address});
  }
  return told;
}

TEST_CASE("dns: a service's name is its virtual address, its tasks are under tasks", "[network]") {
  Book book;
  auto answer = book.ask("web");
  CHECK(answer.code == 0);
  CHECK(answer.id == 7);
  CHECK(answer.ttl == 5);
  CHECK(answer.found == Names{"10.0.1.2"});
  CHECK(book.addresses("www") == Names{"10.0.1.2"});
  CHECK(book.sorted("tasks.web") == Names{"10.0.1.11", "10.0.1.12"});
  CHECK(book.sorted("tasks.www") == Names{"10.0.1.11", "10.0.1.12"});
}

TEST_CASE("dns: each task of a service without a virtual address is first in turn", "[network]") {
  Book book;
  std::multiset<std::string> first;
  for (int i = 0; i < 6; ++i) {
    auto found = book.addresses("db");
    REQUIRE(found.size() == 3);
    first.insert(found[0]);
    // Another name between has its own turn.
    book.addresses("tasks.web");
  }
  for (auto* address : {"10.0.1.21", "10.0.1.22", "10.0.1.23"}) CHECK(first.count(address) == 2);
}

TEST_CASE("dns: on a network with IPv6 a name has both kinds of addresses, each by its own type",
          "[network]") {
  auto told = mynet();
  told.networks[0].subnet6 = "fd00:1::/64";
  Book book(told);
  CHECK(book.ask("web", AAAA).found == Names{"fd00:1::2"});
  CHECK(book.addresses("web") == Names{"10.0.1.2"});
  auto tasks = book.ask("tasks.web.mynet", AAAA).found;
  std::sort(tasks.begin(), tasks.end());
  CHECK(tasks == Names{"fd00:1::b", "fd00:1::c"});
  CHECK(book.ask("web.1", AAAA).found == Names{"fd00:1::b"});
  CHECK(book.ask("web", MX).isEmpty());
  // No AAAA where nobody serves, and still no NXDOMAIN.
  Told nobody;
  nobody.services = {{"n1", "s-none", "none", "", {}}};
  book.tell(nobody);
  CHECK(book.ask("none", AAAA).isEmpty());
}

TEST_CASE("dns: an answer of IPv6 that does not fit is cut, and whole by TCP", "[network]") {
  auto told = many(100);
  told.networks[0].subnet6 = "fd00:1::/64";
  Book book(told);
  auto cut = book.ask("many", AAAA);
  CHECK(cut.truncated);
  CHECK(cut.bytes <= UDP_BYTES);
  CHECK(cut.found.size() == 17);
  CHECK(book.ask("many", AAAA, 0, true).found.size() == 100);
}

TEST_CASE("dns: an address of IPv6 tells whose it is", "[network]") {
  auto told = mynet();
  told.networks[0].subnet6 = "fd00:1::/64";
  Book book(told);
  auto reverse = [](const std::string& last, const std::string& rest = "1.0.0.0.0.0.d.f") {
    return last + ".0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0." + rest + ".ip6.arpa";
  };
  CHECK(book.ask(reverse("b"), PTR).found == Names{"web.1.t1.mynet."});
  CHECK(book.ask(reverse("2"), PTR).found == Names{"web.mynet."});
  CHECK(book.ask(reverse("2"), A).isEmpty());
  CHECK(book.ask(reverse("9"), PTR).code == 3);  // nobody's, and nobody knows better
  for (auto& name : {reverse("b", "2.0.0.0.0.0.d.f"), reverse("g"), reverse("b.0"),
                     std::string("b.ip6.arpa"), std::string("ip6.arpa")}) {
    CHECK(book.forwards(name, PTR));
  }
}

TEST_CASE("dns: a task is found by its name and by its name with its id", "[network]") {
  Book book;
  CHECK(book.addresses("web.1") == Names{"10.0.1.11"});
  CHECK(book.addresses("web.1.t1") == Names{"10.0.1.11"});
  CHECK(book.addresses("web.3") == Names{"10.0.1.13"});  // nobody else has its slot
  Told update;
  update.peers = {{"n1", "t4", "s-web", "web.1", "10.0.1.14", false}};
  book.tell(update);
  CHECK(book.addresses("web.1") == Names{"10.0.1.11"});
  update.peers[0].serving = true;
  update.peers.push_back({"n1", "t1", "s-web", "web.1", "10.0.1.11", false});
  book.tell(update);
  CHECK(book.addresses("web.1") == Names{"10.0.1.14"});
  CHECK(book.addresses("web.1.t1") == Names{"10.0.1.11"});
  CHECK(book.sorted("tasks.web") == Names{"10.0.1.12", "10.0.1.14"});
}

TEST_CASE("dns: a name with the network's name after it is the same", "[network]") {
  Book book;
  for (auto* name :
       {"web.mynet", "tasks.web.mynet", "web.1.mynet", "web.1.t1.mynet", "www.mynet"}) {
    CHECK_FALSE(book.addresses(name).empty());
  }
  for (auto* name :
       {"mynet", "web.other", "web.mynet.mynet", "webmynet", "other.mynet", "t1", "s-web"}) {
    CHECK(book.forwards(name));
  }
}

TEST_CASE("dns: letters of either case are the same, and come back as they were sent",
          "[network]") {
  Book book;
  REQUIRE(book.addresses("WeB.MyNet") == Names{"10.0.1.2"});
  Bytes sent = queryOf("WeB.MyNet");
  CHECK(std::equal(sent.begin() + HEADER_BYTES, sent.end(), book.last.begin() + HEADER_BYTES));
}

TEST_CASE("dns: the task's first network that knows a name decides", "[network]") {
  Book book;
  Told other;
  other.networks = {{"n2", "other", "10.0.2.0/24"}};
  other.services = {{"n2", "s2", "web", "10.0.2.2", {}}, {"n2", "s3", "cache", "10.0.2.3", {}}};
  book.tell(other);
  CHECK(book.forwards("cache"));  // not in a network of this task
  book.networks = {"n1", "n2"};
  CHECK(book.addresses("web") == Names{"10.0.1.2"});
  CHECK(book.addresses("web.other") == Names{"10.0.2.2"});
  CHECK(book.addresses("cache") == Names{"10.0.2.3"});
  book.networks = {"n2", "n1"};
  CHECK(book.addresses("web") == Names{"10.0.2.2"});
}

TEST_CASE("dns: an alias of two services is both", "[network]") {
  Book book;
  Told more;
  more.services = {{"n1", "s-web2", "web2", "10.0.1.3", {"www"}}};
  book.tell(more);
  CHECK(book.sorted("www") == Names{"10.0.1.2", "10.0.1.3"});
}

TEST_CASE("dns: a known name without records of the type is there, and empty", "[network]") {
  Book book;
  for (auto* name : {"web", "tasks.db", "web.1.mynet"}) {
    CHECK(book.ask(name, AAAA).isEmpty());
    CHECK(book.ask(name, MX).isEmpty());
    CHECK(book.ask(name, 65).isEmpty());  // HTTPS
  }
  CHECK(book.ask("web", ANY).found == Names{"10.0.1.2"});
  Told none;
  none.services = {{"n1", "s-idle", "idle", "", {}}};
  book.tell(none);
  CHECK(book.ask("idle").isEmpty());
  CHECK(book.ask("tasks.idle").isEmpty());
}

TEST_CASE("dns: an address of the network has the name of its owner", "[network]") {
  Book book;
  CHECK(book.ask("11.1.0.10.in-addr.arpa", PTR).found == Names{"web.1.t1.mynet."});
  CHECK(book.ask("2.1.0.10.IN-ADDR.ARPA", PTR).found == Names{"web.mynet."});
  CHECK(book.ask("11.1.0.10.in-addr.arpa", A).isEmpty());
  CHECK(book.ask("200.1.0.10.in-addr.arpa", PTR).code == 3);  // nobody's, and nobody knows better
  for (auto* name :
       {"1.2.3.4.in-addr.arpa", "1.0.10.in-addr.arpa", "x.1.0.10.in-addr.arpa", "in-addr.arpa"}) {
    CHECK(book.forwards(name, PTR));
  }
}

TEST_CASE("dns: a change adds and takes away what it names", "[network]") {
  Book book;
  Told change;
  change.gonePeers = {{"n1", "d1"}, {"n1", "unknown"}, {"nowhere", "d1"}};
  change.goneServices = {{"n1", "s-web"}, {"n1", "unknown"}};
  change.peers = {{"n1", "d4", "s-db", "db.4", "10.0.1.24"}};
  book.tell(change);
  CHECK(book.sorted("db") == Names{"10.0.1.22", "10.0.1.23", "10.0.1.24"});
  CHECK(book.forwards("db.1"));
  CHECK(book.ask("21.1.0.10.in-addr.arpa", PTR).code == 3);
  for (auto* name : {"web", "www", "tasks.web"}) CHECK(book.forwards(name));
  CHECK(book.addresses("web.1") == Names{"10.0.1.11"});
  // Tasks that were there before their service are its tasks.
  Told back;
  back.services = {{"n1", "s-web", "shop", "", {}}};
  book.tell(back);
  CHECK(book.sorted("shop") == Names{"10.0.1.11", "10.0.1.12"});
  book.tell(back);
  CHECK(book.sorted("shop") == Names{"10.0.1.11", "10.0.1.12"});
}

TEST_CASE("dns: a service that gets a virtual address or another name keeps its tasks",
          "[network]") {
  Book book;
  Told change;
  change.services = {{"n1", "s-db", "db", "10.0.1.3", {"store"}}};
  book.tell(change);
  CHECK(book.addresses("db") == Names{"10.0.1.3"});
  CHECK(book.addresses("store") == Names{"10.0.1.3"});
  CHECK(book.sorted("tasks.db").size() == 3);
  change.services[0].address = "";
  change.services[0].aliases = {};
  book.tell(change);
  CHECK(book.sorted("db").size() == 3);
  CHECK(book.forwards("store"));
  CHECK(book.ask("3.1.0.10.in-addr.arpa", PTR).code == 3);
}

TEST_CASE("dns: a complete table replaces all, a network takes all that is in it with it",
          "[network]") {
  Book book;
  Told other;
  other.networks = {{"n2", "other", "10.0.2.0/24"}};
  other.services = {{"n2", "s2", "cache", "10.0.2.3", {}}};
  book.tell(other);
  book.networks = {"n1", "n2"};
  Told gone;
  gone.goneNetworks = {"n2", "unknown"};
  book.tell(gone);
  CHECK(book.forwards("cache"));
  CHECK(book.addresses("web") == Names{"10.0.1.2"});
  other.complete = true;
  book.tell(other);
  CHECK(book.forwards("web"));
  CHECK(book.addresses("cache") == Names{"10.0.2.3"});
}

TEST_CASE("dns: what does not fit is cut and says so, by TCP it is whole", "[network]") {
  Book book(many(300));
  auto plain = book.ask("many");
  CHECK(plain.truncated);
  CHECK(plain.bytes <= 512);
  CHECK(plain.found.size() >= 29);  // of 16 bytes each; clients that know no TCP use them
  auto larger = book.ask("many", A, 1232);
  CHECK(larger.truncated);
  CHECK(larger.edns);
  CHECK(larger.bytes <= 1232);
  CHECK(larger.bytes > 1200);
  CHECK(book.ask("many", A, 100).bytes > 480);  // less than 512 is not believed
  auto whole = book.ask("many", A, 8192);
  CHECK_FALSE(whole.truncated);
  CHECK(whole.found.size() == 300);
  auto tcp = book.ask("many", A, 0, true);
  CHECK_FALSE(tcp.truncated);
  CHECK_FALSE(tcp.edns);
  CHECK(std::set<std::string>(tcp.found.begin(), tcp.found.end()).size() == 300);
}

TEST_CASE("dns: more addresses than a message can have are cut by TCP too", "[network]") {
  Book book(many(5000));
  auto answer = book.ask("many", A, 0, true);
  CHECK(answer.truncated);
  CHECK(answer.bytes <= 65535);
  CHECK(answer.found.size() > 4000);
}

TEST_CASE("dns: what is no query is left alone or refused", "[network]") {
  Book book;
  auto query = queryOf("web", A, 1232);
  for (size_t size = 0; size < HEADER_BYTES; ++size) {
    CHECK(book.verdict(Bytes(query.begin(), query.begin() + size)) == Responder::Verdict::DROP);
  }
  for (size_t size = HEADER_BYTES; size < query.size(); ++size) {
    INFO("cut after " << size);
    CHECK(book.verdict(Bytes(query.begin(), query.begin() + size)) == Responder::Verdict::ANSWER);
    CHECK(rcodeOf(book.last) == Rcode::FORMERR);
    CHECK(idOf(book.last) == 7);
  }
  auto changed = [&](size_t at, uint8_t value) {
    auto other = query;
    other[at] = value;
    return book.verdict(other) == Responder::Verdict::ANSWER ? int(rcodeOf(book.last)) : -1;
  };
  CHECK(changed(2, 0x81) == -1);  // an answer
  CHECK(changed(2, 0x29) == 4);   // an update
  CHECK(changed(5, 0) == 1);      // no question
  CHECK(changed(5, 2) == 1);      // two of them
  CHECK(changed(12, 0xc0) == 1);  // a name that refers to another place
  CHECK(changed(12, 64) == 1);    // a label that is too long
  auto version = query;
  version[version.size() - 5] = 1;  // of EDNS
  CHECK(book.verdict(version) == Responder::Verdict::ANSWER);
  CHECK(read(book.last).code == 16);  // BADVERS
}

TEST_CASE("dns: names that cannot be ours are forwarded", "[network]") {
  Book book;
  CHECK(book.forwards(""));
  CHECK(book.forwards("example.com"));
  CHECK(book.forwards("nobody"));
  auto dotted = queryOf("web-1");
  dotted[HEADER_BYTES + 4] = '.';  // one label, `web.1`
  CHECK(book.verdict(dotted) == Responder::Verdict::FORWARD);
  auto chaos = queryOf("web");
  chaos.back() = 3;
  CHECK(book.verdict(chaos) == Responder::Verdict::FORWARD);
}

}  // namespace
}  // namespace orch::network::dns
