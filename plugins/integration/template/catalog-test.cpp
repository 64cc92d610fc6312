// What consul answers, and what templates make of it.
#include "catalog.h"

#include <catch2/catch.hpp>

#include "language/json.h"
#include "orch/attempt.h"
#include "recall.h"

namespace orch::integration::templates {
namespace {

Query asking(std::string_view function, std::vector<std::string> arguments) {
  std::string problem;
  auto query = queryOf(function, arguments, problem);
  REQUIRE(problem == "");
  return query;
}

constexpr const char* HEALTH = R"([
  {"Node": {"ID": "i2", "Node": "n2", "Address": "10.0.0.2", "TaggedAddresses": {"wan": "1.2.3.4"},
            "Meta": null},
   "Service": {"ID": "web-2", "Service": "web", "Tags": ["b", "a"], "Address": "", "Port": 80,
               "Meta": {"shard": "7"}, "Weights": {"Passing": 3, "Warning": 1},
               "TaggedAddresses": {"wan": {"Address": "9.9.9.9", "Port": 8080}}},
   "Checks": [{"CheckID": "serfHealth", "Status": "passing"},
              {"CheckID": "c", "Status": "warning", "Output": "slow"}]},
  {"Node": {"ID": "i1", "Node": "n1", "Address": "10.0.0.1"},
   "Service": {"ID": "web-1", "Service": "web", "Tags": null, "Address": "10.9.0.1", "Port": 81},
   "Checks": []}])";

// With one answer, that to `query`.
std::string rendering(const std::string& text, const Query& query, const Value& answer) {
  auto rendered = renderWith(parse("t", text), {{query, answer}}, {}, 0, {});
  CHECK(rendered.missing.empty());
  return rendered.problem.empty() ? rendered.text : "<" + rendered.problem + ">";
}

TEST_CASE("template: a service's instances", "[template]") {
  auto query = asking("service", {"web|any"});
  auto answer = readAnswer(query, HEALTH, true);
  struct {
    const char* text;
    const char* printed;
  } ROWS[] = {
      {"{{range service `web|any`}}{{.Node}} {{.Address}}:{{.Port}} {{.Status}};{{end}}",
       "n1 10.9.0.1:81 passing;n2 10.0.0.2:80 warning;"},
      {"{{range service `web` `any`}}{{.Tags | join `,`}};{{end}}", ";a,b;"},
      {"{{range service `web|any`}}{{if .Tags.Contains `a`}}{{.ID}}{{end}}{{end}}", "web-2"},
      {"{{range service `web|any`}}[{{.ServiceMeta.shard}}{{.ServiceMeta.none}}]{{end}}", "[][7]"},
      {"{{range service `web|any`}}{{with .ServiceTaggedAddresses.wan}}{{.Address}}:{{.Port}}"
       "{{end}}{{end}}",
       "9.9.9.9:8080"},
      {"{{range service `web|any`}}{{.NodeTaggedAddresses.wan}}{{end}}", "1.2.3.4"},
      {"{{range $tag, $all := service `web|any` | byTag}}{{$tag}}{{range $all}} {{.ID}}{{end}};"
       "{{end}}",
       "a web-2;b web-2;"},
      {"{{range $port, $all := service `web|any` | byPort}}{{$port}}:{{len $all}} {{end}}",
       "80:1 81:1 "},
      {"{{range $key, $all := service `web|any` | byMeta `shard|int,zone`}}{{$key}} {{end}}",
       "00000__no_zone_ 00007__no_zone_ "},
      {"{{range service `web|any`}}{{range .Checks}}{{.CheckID}}={{.Output}} {{end}}{{end}}",
       "serfHealth= c=slow "},
      {"{{(index (service `web|any`) 1).Weights.Passing}}", "3"},
      {"{{range $i, $one := service `web|any`}}{{if ne $i "
       "0}},{{end}}{{$one.Address}}:{{$one.Port}}{{end}}",
       "10.9.0.1:81,10.0.0.2:80"},
      {"{{range service `web|any`}}{{range .Tags}}{{scratch.MapSetX `tags` . .}}{{end}}{{end}}"
       "{{range scratch.MapValues `tags`}}<{{.}}>{{end}}",
       "<a><b>"},
      {"{{with service `web|any`}}{{with index . 0}}{{.ID}}{{end}}{{end}}", "web-1"},
      {"{{define `server`}}server {{.ID}};{{end}}{{range service `web|any`}}{{template `server` "
       ".}}{{end}}",
       "server web-1;server web-2;"},
      {"{{range service `web|any`}}{{if eq .Status `passing`}}{{.ID}}{{else}}# {{.ID}}{{end}} "
       "{{end}}",
       "web-1 # web-2 "},
      {"{{range service `web|any`}}{{.Address | replaceAll `.` `_`}} {{end}}",
       "10_9_0_1 10_0_0_2 "},
      {"{{$all := service `web|any`}}{{len $all}}{{if gt (len $all) 1}} several{{end}}",
       "2 several"},
      {"{{range service `web|any`}}{{.Nothing}}{{end}}",
       "<t:1:30: there is no field 'Nothing' in *dep.HealthService>"},
  };
  for (auto& row : ROWS) {
    INFO(row.text);
    CHECK(rendering(row.text, query, answer) == row.printed);
  }
  auto strict = asking("service", {"web|passing,critical"});
  CHECK(rendering("{{len (service `web|passing,critical`)}}", strict,
                  readAnswer(strict, HEALTH, true)) == "1");
}

TEST_CASE("template: keys come alone, in folders and in trees", "[template]") {
  // maxconns 15, nested/x 1, a folder.
  constexpr const char* KEYS = R"([
    {"Key": "service/redis/", "Value": null, "ModifyIndex": 4},
    {"Key": "service/redis/maxconns", "Value": "MTU=", "ModifyIndex": 5},
    {"Key": "service/redis/nested/x", "Value": "MQ==", "ModifyIndex": 6}])";
  auto query = asking("tree", {"service/redis"});
  auto answer = readAnswer(query, KEYS, true);
  struct {
    const char* text;
    const char* printed;
  } ROWS[] = {
      {"{{range ls `service/redis`}}{{.Key}}:{{.Value}} {{end}}", "maxconns:15 "},
      {"{{range tree `service/redis`}}{{.Key}}:{{.Value}}@{{.ModifyIndex}} {{end}}",
       "maxconns:15@5 nested/x:1@6 "},
      {"{{tree `service/redis` | explode | toJSON}}",
       "{\"maxconns\":\"15\",\"nested\":{\"x\":\"1\"}}"},
      {"{{with tree `service/redis` | explode}}{{.nested.x}}{{end}}", "1"},
      {"{{range $key, $pairs := tree `service/redis` | byKey}}{{$key}}:{{range $pairs}}{{.Key}}="
       "{{.Value}}{{end}}{{end}}",
       "nested:x=1"},
      {"{{range safeTree `service/redis`}}{{.Path}} {{end}}",
       "service/redis/maxconns service/redis/nested/x "},
  };
  for (auto& row : ROWS) {
    INFO(row.text);
    CHECK(rendering(row.text, query, answer) == row.printed);
  }
  CHECK(rendering("{{range ls `service/redis`}}{{end}}", query, readAnswer(query, "", false)) ==
        "");
}

TEST_CASE("template: services, nodes, data centers", "[template]") {
  auto services = asking("services", {});
  CHECK(rendering("{{range services}}{{.Name}}: {{.Tags | join `,`}};{{end}}", services,
                  readAnswer(services, R"({"web": ["b", "a"], "consul": []})", true)) ==
        "consul: ;web: a,b;");
  auto nodes = asking("nodes", {});
  CHECK(rendering("{{range nodes}}{{.Node}}={{.Address}} {{.Meta.zone}};{{end}}", nodes,
                  readAnswer(nodes, R"([{"Node": "b", "Address": "10.0.0.2", "Meta": {"zone": "z"}},
                                        {"Node": "a", "Address": "10.0.0.1"}])",
                             true)) == "a=10.0.0.1 ;b=10.0.0.2 z;");
  auto node = asking("node", {});
  constexpr const char* NODE = R"({"Node": {"Node": "a", "Address": "10.0.0.1"},
    "Services": {"x": {"ID": "x", "Service": "web", "Tags": [], "Port": 80}}})";
  constexpr const char* ONE =
      "{{with node}}{{.Node.Address}}{{range .Services}} {{.Service}}:{{.Port}}{{end}}{{end}}";
  CHECK(rendering(ONE, node, readAnswer(node, NODE, true)) == "10.0.0.1 web:80");
  CHECK(rendering("{{with node}}{{with .Node}}a{{else}}none{{end}}{{end}}", node,
                  readAnswer(node, "null", true)) == "none");
  CHECK(readAgentNode(R"({"Config": {"NodeName": "n7"}})") == "n7");
  auto all = asking("datacenters", {});
  CHECK(rendering("{{range datacenters}}{{.}} {{end}}", all,
                  readAnswer(all, R"(["dc1", "dc2"])", true)) == "dc1 dc2 ");
}

TEST_CASE("template: what is not known yet is waited for, or not", "[template]") {
  auto key = asking("key", {"a"});
  auto with = [&](const std::string& text, Answers answers) {
    auto rendered = renderWith(parse("t", text), answers, {}, 0, {});
    return (rendered.missing.empty() ? "" : "waits ") + rendered.text;
  };
  CHECK(with("[{{key `a`}}]", {}) == "waits []");
  CHECK(with("[{{key `a`}}]", {{key, Value()}}) == "waits []");
  CHECK(with("[{{key `a`}}]", {{key, Value("")}}) == "[]");
  CHECK(with("[{{key `a`}}]", {{key, Value("1")}}) == "[1]");
  CHECK(with("{{keyOrDefault `a` `5`}}", {}) == "waits 5");
  CHECK(with("{{keyOrDefault `a` `5`}}", {{key, Value()}}) == "5");
  CHECK(with("{{keyOrDefault `a` `5`}}", {{key, Value("")}}) == "5");
  CHECK(with("{{keyOrDefault `a` `5`}}", {{key, Value("1")}}) == "1");
  CHECK(with("{{keyExists `a`}}", {}) == "waits false");
  CHECK(with("{{keyExists `a`}}", {{key, Value()}}) == "false");
  CHECK(with("{{keyExists `/a`}}", {{key, Value("1")}}) == "true");
  CHECK(with("[{{key ``}}{{range service ``}}{{end}}{{file ``}}]", {}) == "[]");
  auto keys = asking("ls", {"a"});
  CHECK(with("{{range safeLs `a`}}{{end}}", {{keys, Value::list({})}}) == "waits ");
  CHECK(with("{{range ls `a`}}{{end}}", {{keys, Value::list({})}}) == "");
}

TEST_CASE("template: what no consul answers is refused", "[template]") {
  struct {
    const char* function;
    const char* body;
  } ROWS[] = {
      {"service", "{"},
      {"service", "{}"},
      {"service", "[1]"},
      {"service", "[{}]"},
      {"service", "[{\"Node\": {}, \"Service\": {\"Port\": \"80\"}}]"},
      {"service", "[{\"Node\": {}, \"Service\": {\"Tags\": [1]}}]"},
      {"services", "[]"},
      {"services", "{\"a\": 1}"},
      {"nodes", "{}"},
      {"nodes", "[{\"Node\": 1}]"},
      {"key", "[{\"Value\": \"%\"}]"},
      {"key", "1"},
      {"tree", "{}"},
      {"node", "[]"},
      {"node", "{\"Node\": {}, \"Services\": 1}"},
      {"datacenters", "[1]"},
  };
  for (auto& row : ROWS) {
    INFO(row.function << " " << row.body);
    bool named = std::string_view(row.function) != "services" &&
                 std::string_view(row.function) != "nodes" &&
                 std::string_view(row.function) != "datacenters";
    auto query =
        asking(row.function, named ? std::vector<std::string>{"a"} : std::vector<std::string>());
    auto outcome = attemptNow([&] { return readAnswer(query, row.body, true); });
    REQUIRE(!outcome.ok());
    CHECK(outcome.message().startsWith("answers what no consul does: "));
  }
}

TEST_CASE("template: how consul is asked", "[template]") {
  struct {
    const char* function;
    std::vector<std::string> arguments;
    const char* path;
  } ROWS[] = {
      {"service", {"web"}, "/v1/health/service/web?passing=1"},
      {"service", {"a:b.web@dc1~n1|any"}, "/v1/health/service/web?tag=a%3Ab&dc=dc1&near=n1"},
      {"services", {"@dc1"}, "/v1/catalog/services?dc=dc1"},
      {"key", {"/a b/c%"}, "/v1/kv/a%20b/c%25"},
      {"ls", {"a/b@dc1"}, "/v1/kv/a/b?recurse=1&dc=dc1"},
      {"node", {}, "/v1/agent/self"},
      {"node", {"n1"}, "/v1/catalog/node/n1"},
      {"nodes", {"~_agent"}, "/v1/catalog/nodes?near=_agent"},
      {"datacenters", {}, "/v1/catalog/datacenters"},
  };
  for (auto& row : ROWS) CHECK(consulPath(asking(row.function, row.arguments)) == row.path);
}

}  // namespace
}  // namespace orch::integration::templates
