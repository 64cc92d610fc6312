#include "settings.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <functional>

#include "orch/attempt.h"

namespace orch::integration::templates {
namespace {

// What is said of a template that is good but for what `change` does; empty: nothing.
std::string refusedFor(const std::function<void(Template::Builder)>& change) {
  capnp::MallocMessageBuilder message;
  auto one = message.initRoot<Config>().initTemplates(1)[0];
  one.setSource("/a");
  one.setDestination("/b");
  change(one);
  auto outcome = attemptNow([&] { return templateSettings(message.getRoot<Config>().asReader()); });
  return outcome.ok() ? "" : outcome.message().cStr();
}

TEST_CASE("template: a bad setting of a template is named", "[template]") {
  struct {
    std::function<void(Template::Builder)> change;
    const char* said;
  } ROWS[] = {
      {[](auto) {}, ""},
      {[](auto t) { t.setSource("a"); }, "source is 'a'; accepted: an absolute path"},
      {[](auto t) { t.setSource(""); }, "source is missing: an absolute path"},
      {[](auto t) { t.setDestination("/b/"); },
       "destination is '/b/'; accepted: the path of a file"},
      {[](auto t) { t.setMode("0644"); }, ""},
      {[](auto t) { t.setMode("0888"); }, "mode is '0888'; accepted: rights in octal, as 0644"},
      {[](auto t) { t.setMode("17777"); }, "mode is '17777'; accepted: rights in octal, as 0644"},
      {[](auto t) { t.initCheck(1).set(0, ""); }, "check: the program has no name"},
      {[](auto t) { t.initCommand(1).set(0, ""); }, "command: the program has no name"},
      {[](auto t) { t.setWaitMinMs(86'400'001); },
       "waitMinMs is 86400001; accepted: 0 to 86400000, a day"},
      {[](auto t) {
         t.setWaitMinMs(2);
         t.setWaitMaxMs(1);
       },
       "waitMaxMs must not be less than waitMinMs"},
      {[](auto t) { t.setCommandTimeoutMs(0); }, "commandTimeoutMs must not be 0"},
      {[](auto t) { t.setLeftDelimiter(""); },
       "leftDelimiter and rightDelimiter must not be empty"},
  };
  for (auto& row : ROWS) {
    auto said = refusedFor(row.change);
    CHECK(said == (*row.said == 0 ? "" : std::string("templates: number 1: ") + row.said));
  }
}

TEST_CASE("template: consul says which services there are, if one is named, else orch",
          "[template]") {
  struct {
    const char *who, *consul;
    const char* read;
  } ROWS[] = {
      {"", "", "orch whole"},
      {"", "http://127.0.0.1:8500", "consul"},
      {"consul", "http://127.0.0.1:8500", "consul"},
      {"orch", "http://127.0.0.1:8500", "orch whole"},
      {"node", "", "orch"},
      {"consul", "", "services is 'consul', but 'consul' names none"},
      {"etcd", "", "services is 'etcd'; accepted: consul, orch or node"},
  };
  for (auto& row : ROWS) {
    capnp::MallocMessageBuilder message;
    auto config = message.initRoot<Config>();
    config.setServices(row.who);
    if (*row.consul != 0) config.initConsul(1).set(0, row.consul);
    auto outcome = attemptNow([&] { return orchSettings(config.asReader()); });
    std::string read = outcome.ok() ? "" : outcome.message().cStr();
    if (outcome.ok()) {
      auto& settings = outcome.value();
      read = !settings.answers ? "consul" : settings.whole ? "orch whole" : "orch";
      CHECK(settings.noticeMs == 500);
    }
    CHECK(read == row.read);
  }
}

TEST_CASE("template: two files cannot be one", "[template]") {
  capnp::MallocMessageBuilder message;
  auto all = message.initRoot<Config>().initTemplates(2);
  for (auto one : all) {
    one.setSource("/a");
    one.setDestination("/b");
  }
  auto outcome = attemptNow([&] { return templateSettings(message.getRoot<Config>().asReader()); });
  REQUIRE(!outcome.ok());
  CHECK(outcome.message() == "templates: two of them have the destination '/b'");
}

}  // namespace
}  // namespace orch::integration::templates
