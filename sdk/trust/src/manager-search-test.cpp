#include "orch/trust/manager-search.h"

#include <capnp/rpc-twoparty.h>
#include <catch2/catch.hpp>

#include <map>

#include "orch/attempt.h"
#include "orch/testing/virtual-env.h"
#include "orch/trust/first-of.h"

namespace orch::trust {
namespace {

// What one manager does that is asked.
struct Manager {
  kj::Duration after = 0 * kj::SECONDS;  // until it answers, or what stands in the way is known
  const char* trouble = nullptr;         // in the way
  bool leads = false;
};

class Port final : public schema::Gateway::Server {
 public:
  explicit Port(bool leads) : leads(leads) {}
  kj::Promise<void> services(ServicesContext context) override {
    auto names = context.getResults().initNames(leads);
    if (leads) names.set(0, "dispatcher");
    return kj::READY_NOW;
  }

 private:
  const bool leads;
};

struct SearchFixture {
  explicit SearchFixture(std::map<std::string, Manager> given) : cluster(std::move(given)) {
    for (auto& entry : cluster) managers.push_back(entry.first);
  }
  Task<kj::Own<kj::AsyncIoStream>> connect(kj::String address) {
    asked.emplace_back(address.cStr());
    ++waiting;
    KJ_DEFER(--waiting);
    auto& manager = cluster.at(address.cStr());
    co_await world.env().timer().afterDelay(manager.after);
    if (manager.trouble != nullptr) fail(kj::str(address, " ", manager.trouble));
    auto pipe = kj::newTwoWayPipe();
    auto server = kj::heap<capnp::TwoPartyServer>(kj::heap<Port>(manager.leads));
    server->accept(kj::mv(pipe.ends[0]));
    servers.add(kj::mv(server));
    co_return kj::mv(pipe.ends[1]);
  }
  // Who was found, or why nobody was; `took` is how long that took.
  std::string find() {
    asked.clear();
    auto begin = world.env().timer().now();
    auto found = attempt(search.find()).wait(world.waitScope());
    took = world.env().timer().now() - begin;
    return found.ok() ? found.value().address : std::string(found.message().cStr());
  }

  testing::VirtualWorld world{1};
  std::map<std::string, Manager> cluster;
  std::vector<std::string> managers;
  std::vector<std::string> asked;
  int waiting = 0;
  kj::Duration took = 0 * kj::SECONDS;
  kj::Vector<kj::Own<capnp::TwoPartyServer>> servers;
  ManagerSearch search{world.env(), managers,
                       [this](kj::String address) { return connect(kj::mv(address)); }};
};

constexpr Manager OFF{5 * kj::SECONDS, "does not answer"};
constexpr Manager REFUSES{0 * kj::SECONDS, "refuses"};
constexpr Manager FOLLOWS{};
constexpr Manager LEADS{0 * kj::SECONDS, nullptr, true};

TEST_CASE("manager search: managers that are off are not waited for", "[trust]") {
  SearchFixture f({{"a", OFF}, {"b", OFF}, {"c", LEADS}});
  CHECK(f.find() == "c");
  CHECK(f.took == 2 * STAGGER);
  CHECK(f.asked == std::vector<std::string>{"a", "b", "c"});
  CHECK(f.waiting == 0);
}

TEST_CASE("manager search: whoever refuses, or has nothing for this node, is passed over at once",
          "[trust]") {
  SearchFixture f({{"a", REFUSES}, {"b", FOLLOWS}, {"c", LEADS}});
  CHECK(f.find() == "c");
  CHECK(f.took == 0 * kj::SECONDS);
}

TEST_CASE("manager search: one that answers in time is the only one that is asked", "[trust]") {
  SearchFixture f({{"a", {STAGGER / 2, nullptr, true}}, {"b", LEADS}});
  CHECK(f.find() == "a");
  CHECK(f.asked == std::vector<std::string>{"a"});
}

TEST_CASE("manager search: who answers first is taken, and the others are let go", "[trust]") {
  SearchFixture f({{"a", {2 * STAGGER - 1 * kj::MILLISECONDS, nullptr, true}},
                   {"b", {1 * kj::SECONDS, nullptr, true}}});
  CHECK(f.find() == "a");
  CHECK(f.asked == std::vector<std::string>{"a", "b"});
  CHECK(f.waiting == 0);
}

TEST_CASE(
    "manager search: when nobody is found it says why of the first, and begins with another "
    "one the next time",
    "[trust]") {
  SearchFixture f({{"a", OFF}, {"b", REFUSES}, {"c", OFF}});
  CHECK(f.find() == "a does not answer");
  CHECK(f.took == STAGGER + 5 * kj::SECONDS);  // until the last one that was asked has failed
  CHECK(f.search.begunWith() == "a");
  CHECK(f.find() == "b refuses");
  CHECK(f.search.begunWith() == "b");
}

TEST_CASE("manager search: suggested ones are asked, too, each once", "[trust]") {
  SearchFixture f({{"a", REFUSES}, {"b", REFUSES}});
  f.cluster["d"] = LEADS;
  f.search.suggest({"b", "d"});
  CHECK(f.find() == "d");
  CHECK(f.asked == std::vector<std::string>{"a", "b", "d"});
}

TEST_CASE("manager search: a node that knows of no manager says so", "[trust]") {
  SearchFixture f(std::map<std::string, Manager>{});
  CHECK(f.find() == "this node knows of no manager");
}

}  // namespace
}  // namespace orch::trust
