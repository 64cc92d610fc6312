// What orch says of its tasks, and what templates make of it.
#include "orch-catalog.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <functional>

#include "recall.h"

namespace orch::integration::templates {
namespace {

using Change = std::function<void(schema::TaskEntry::Builder)>;

const OrchNodes NODES = {{"n1", {"one", "10.0.0.1", {{"zone", "a"}}}},
                         {"n2", {"two", "10.0.0.2", {}}}};

// Of task `t1` of `web` on n1, which publishes nothing; as the node n1 sees it.
std::vector<OrchEntry> entriesFor(const Change& change, const std::string& self = "n1") {
  capnp::MallocMessageBuilder message;
  auto entry = message.initRoot<schema::TaskEntry>();
  entry.setServing(true);
  auto task = entry.initTask();
  task.initMeta().setId("t1");
  task.setServiceName("web");
  task.setSlot(3);
  task.setNodeId("n1");
  task.initStatus().initAddresses(1).set(0, "172.20.0.5/16");
  change(entry);
  return orchEntries(entry.asReader(), NODES, self);
}

std::string placesFor(const Change& change, const std::string& self = "n1") {
  std::string all;
  for (auto& entry : entriesFor(change, self)) {
    all += entry.name + " " + entry.id + " " + entry.address + ":" + std::to_string(entry.port);
    for (auto& tag : entry.tags) all += " " + tag;
    all += ";";
  }
  return all;
}

schema::PortSpec::Builder publish(schema::TaskEntry::Builder entry, uint16_t target,
                                  uint16_t published, bool byHost = false) {
  auto port = entry.getTask().initPorts(1)[0];
  port.setTarget(target);
  port.setPublished(published);
  if (byHost) port.setMode(schema::PortSpec::PublishMode::HOST);
  return port;
}

TEST_CASE("template: where a task of orch is found", "[template]") {
  CHECK(placesFor([](auto) {}) == "web web.3.t1 172.20.0.5:0;");
  CHECK(placesFor([](auto entry) { entry.setServing(false); }).empty());
  // Nobody elsewhere reaches an address of that node's own network.
  CHECK(placesFor([](auto) {}, "n2").empty());
  auto onNetwork = [](auto entry) { entry.getTask().initLegs(1)[0].setAddress("10.1.0.7/24"); };
  CHECK(placesFor(onNetwork, "n2") == "web web.3.t1 10.1.0.7:0;");
  CHECK(placesFor(onNetwork) == "web web.3.t1 172.20.0.5:0;");
  auto onHost = [](auto entry) {
    entry.getTask().initSpec().initNetworks(1)[0].setName("host");
    publish(entry, 80, 0);
  };
  CHECK(placesFor(onHost, "n2") == "web web.3.t1:80 10.0.0.1:80;");
  CHECK(placesFor([](auto entry) { publish(entry, 80, 8080); }) ==
        "web web.3.t1:80 10.0.0.1:8080;");
  CHECK(placesFor([](auto entry) { publish(entry, 80, 8080); }, "n2") ==
        "web web.3.t1:80 10.0.0.1:8080;");
}

TEST_CASE("template: ports of the node's own are those that were chosen", "[template]") {
  auto byHost = [](auto entry) {
    publish(entry, 80, 0, true);
    auto chosen = entry.getTask().getStatus().initHostPorts(1)[0];
    chosen.setTarget(80);
    chosen.setPublished(31234);
  };
  CHECK(placesFor(byHost) == "web web.3.t1:80 10.0.0.1:31234;");
  CHECK(placesFor([](auto entry) { publish(entry, 80, 0, true); }).empty());
  auto several = [](auto entry) {
    auto ports = entry.getTask().initPorts(2);
    ports[0].setTarget(80);
    ports[0].setPublished(8080);
    ports[1].setTarget(53);
    ports[1].setPublished(5353);
    ports[1].setProtocol(schema::PortSpec::Protocol::UDP);
  };
  CHECK(placesFor(several) ==
        "web-80 web.3.t1:80 10.0.0.1:8080;web-53 web.3.t1:53:udp 10.0.0.1:5353 udp;");
}

TEST_CASE("template: labels of a service are its tags and its meta", "[template]") {
  auto entries = entriesFor([](auto entry) {
    auto labels = entry.getTask().initServiceLabels(2);
    labels[0].setKey(TAGS_LABEL);
    labels[0].setValue("b,,a");
    labels[1].setKey("shard");
    labels[1].setValue("7");
  });
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].tags == std::vector<std::string>{"b", "a"});
  CHECK(entries[0].labels == Labels{{"shard", "7"}});
}

// With what orch answers of these.
std::string rendering(const std::string& text, const std::vector<OrchEntry>& entries) {
  Answers answers;
  auto tree = parse("t", text);
  auto asked = renderWith(tree, answers, {}, 0, {});
  for (auto& query : asked.missing) {
    if (!orchKnows(query)) return "<unknown: " + query.text() + ">";
    answers[query] = orchAnswer(query, entries, NODES, "n2");
  }
  auto rendered = renderWith(tree, answers, {}, 0, {});
  return rendered.problem.empty() ? rendered.text : "<" + rendered.problem + ">";
}

TEST_CASE("template: what orch answers", "[template]") {
  const std::vector<OrchEntry> entries = {
      {"web.2.b:80", "web", "n2", "10.0.0.2", 8080, {"blue"}, {{"shard", "7"}}},
      {"web.1.a:80", "web", "n1", "10.0.0.1", 8080, {"green"}, {}},
      {"db.1.c", "db", "n1", "172.20.0.9", 0, {}, {}}};
  struct {
    const char* text;
    const char* printed;
  } ROWS[] = {
      {"{{range service `web`}}{{.ID}} {{.Address}}:{{.Port}} {{.Status}} {{.Node}};{{end}}",
       "web.1.a:80 10.0.0.1:8080 passing one;web.2.b:80 10.0.0.2:8080 passing two;"},
      {"{{range service `web~_agent`}}{{.ID}} {{end}}", "web.2.b:80 web.1.a:80 "},
      {"{{range service `blue.web`}}{{.ID}}{{end}}", "web.2.b:80"},
      {"{{range service `web|any`}}{{.Name}}{{.Tags | join `,`}};{{end}}", "webgreen;webblue;"},
      {"{{range service `web|critical`}}x{{else}}none{{end}}", "none"},
      {"{{range service `none`}}x{{else}}none{{end}}", "none"},
      {"{{range service `web`}}[{{.ServiceMeta.shard}}{{.NodeMeta.zone}}]{{end}}", "[a][7]"},
      {"{{range service `web`}}{{.NodeAddress}} {{.NodeID}};{{end}}", "10.0.0.1 n1;10.0.0.2 n2;"},
      {"{{range services}}{{.Name}}:{{.Tags | join `,`}} {{end}}", "db: web:blue,green "},
      {"{{range nodes}}{{.Node}} {{.Address}} {{.Meta.zone}};{{end}}",
       "one 10.0.0.1 a;two 10.0.0.2 ;"},
      {"{{range nodes `~_agent`}}{{.Node}} {{end}}", "two one "},
      {"{{with node}}{{.Node.Node}}{{range .Services}} {{.Service}}:{{.Port}}{{end}}{{end}}",
       "two web:8080"},
      {"{{with node `one`}}{{.Node.Address}}{{range .Services}} {{.Service}}{{end}}{{end}}",
       "10.0.0.1 db web"},
      {"{{with node `three`}}{{if .Node}}there{{else}}none{{end}}{{end}}", "none"},
      {"{{key `a`}}", "<unknown: key 'a'>"},
      {"{{range service `web@dc1`}}{{end}}", "<unknown: service 'web@dc1'>"},
  };
  for (auto& row : ROWS) {
    CAPTURE(row.text);
    CHECK(rendering(row.text, entries) == row.printed);
  }
}

}  // namespace
}  // namespace orch::integration::templates
