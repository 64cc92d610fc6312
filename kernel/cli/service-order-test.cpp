// What comes before what: services that depend on others, and what a service was before.
#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: dependencies and their conditions, compose's words as well", "[cli]") {
  using Condition = schema::Dependency::Condition;
  RecordingServer server;
  auto ran = server.run(create({"-d", "--depends-on", "db:healthy", "--depends-on", "cache",
                                "--depends-on=migrate:service_completed_successfully"}));
  REQUIRE(ran.status == 0);
  auto needs = server.lastSpec().getDependsOn();
  REQUIRE(needs.size() == 3);
  CHECK(needs[0].getService() == "db");
  CHECK(needs[0].getCondition() == Condition::HEALTHY);
  CHECK(needs[1].getService() == "cache");
  CHECK(needs[1].getCondition() == Condition::STARTED);
  CHECK(needs[2].getCondition() == Condition::COMPLETED);
  ran = server.run({"service", "update", "-d", "--depends-on-rm", "cache", "--depends-on-add",
                    "db:service_started", "web"});
  CHECK(ran.errors == "");
  auto left = server.lastSpec().getDependsOn();
  REQUIRE(left.size() == 2);
  CHECK(left[0].getCondition() == Condition::STARTED);
  CHECK(left[1].getService() == "migrate");
}

TEST_CASE("cli: a wrong dependency is refused in one line", "[cli]") {
  RecordingServer server;
  for (auto wrong : {"db:ready", ":healthy", "db:", ""}) {
    auto ran = server.run(create({"-d", "--depends-on", wrong}));
    CHECK(ran.status == 2);
    CHECK(ran.errors == "orch: invalid value '" + std::string(wrong) +
                            "' for --depends-on: expected SERVICE, SERVICE:started, "
                            "SERVICE:healthy or SERVICE:completed\n");
  }
  CHECK(server.run(create({"-d", "--depends-on", "db", "--depends-on", "db:healthy"})).status == 2);
  CHECK(server.calls.empty());
}

TEST_CASE("cli: what depends on others is removed before them", "[cli]") {
  RecordingServer server;
  auto add = [&](const char* name, Words options) {
    options.insert(options.begin(), {"service", "create", "-d", "--name", name});
    options.push_back("nginx:1");
    REQUIRE(server.run(options).status == 0);
  };
  add("db", {});
  add("web", {"--depends-on", "db", "--depends-on", "cache"});
  add("cache", {"--depends-on", "db"});
  add("other", {});
  server.calls.clear();
  auto ran = server.run({"service", "rm", "-d", "db", "cache", "web", "other"});
  CHECK(ran.status == 0);
  CHECK(server.calls == Words{"removeService web", "removeService other", "removeService cache",
                              "removeService db"});
  CHECK(ran.out == "web\nother\ncache\ndb\n");
  server.calls.clear();
  CHECK(server.run({"plan", "service", "rm", "db", "web"}).status == 0);
  CHECK(server.calls == Words{"plan remove web", "plan remove db"});
}

TEST_CASE("cli: what a service was, and what was changed", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  auto first = server.run({"service", "history", "--format", "{{.Version}} {{.Image}}", "web"});
  CHECK(first.out == "1 nginx:1\n");
  REQUIRE(server.run({"service", "update", "-d", "--image", "nginx:2", "web"}).status == 0);
  auto ran = server.run({"service", "history", "--format",
                         "{{.Version}}|{{.Image}}|{{.Changed}}|{{.Outcome}}", "web"});
  CHECK(ran.out ==
        "2|nginx:2|image nginx:1 -> nginx:2|\n"
        "1|nginx:1||update paused: task web.2: exit 1\n");
  CHECK(has(server.run({"service", "history", "web"}).out, "VERSION   CREATED"));
  CHECK(has(server.run({"service", "history", "--json", "web"}).out, "\"number\""));
  CHECK(server.run({"service", "rollback", "--to", "0", "web"}).status == 2);
}

}  // namespace
}  // namespace orch::cli
