#include "template.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <string>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/objects.capnp.h"

namespace orch::cli {
namespace {

struct TemplateFixture {
  TemplateFixture() {
    auto service = message.initRoot<schema::Service>();
    service.initMeta().setId("abc");
    service.getMeta().setVersion(7);
    service.getMeta().setCreatedAtNs(1'700'000'000'000'000'000);
    auto spec = service.initSpec();
    spec.setName("web");
    spec.getMode().initReplicated().setReplicas(3);
    auto label = spec.initLabels(1)[0];
    label.setKey("tier");
    label.setValue("front");
    auto container = spec.initTask().initContainer();
    container.setImage("nginx");
    auto args = container.initArgs(2);
    args.set(0, "a");
    args.set(1, "b \"c\"");
    spec.getTask().initResources().setLimitMemoryBytes(64 << 20);
    auto ports = service.initPorts(2);
    for (unsigned i = 0; i < 2; ++i) ports[i].setTarget(static_cast<uint16_t>(80 + i));
    ports[0].setPublished(8080);
  }
  // What the template makes, or why it is none.
  std::string operator()(const char* text) {
    auto made = attemptNow([&] {
      return expandObject(text, capnp::toDynamic(message.getRoot<schema::Service>().asReader()));
    });
    return made.ok() ? made.value().cStr() : plainText(made.error()).cStr();
  }
  capnp::MallocMessageBuilder message;
};

TEST_CASE("template: paths by docker's names and by those of the schema", "[cli]") {
  TemplateFixture expand;
  CHECK(expand("x") == "x");
  CHECK(expand("{{.ID}}/{{ .Id }}/{{.meta.id}}") == "abc/abc/abc");
  CHECK(expand("{{.Spec.Name}}\\t{{.Spec.Mode.Replicated.Replicas}}") == "web\t3");
  CHECK(expand("{{.Spec.TaskTemplate.ContainerSpec.Args}}") == "[a b \"c\"]");
  CHECK(expand("{{.Version.Index}} {{.CreatedAt}}") == "7 2023-11-14T22:13:20.000000000Z");
  CHECK(expand("{{.Meta.CreatedAtNs}}") == "1700000000000000000");
  CHECK(expand("{{.Spec.Task.Resources.LimitMemory}}") == "67108864");
  CHECK(expand("{{.Spec.Labels.tier}}{{.Spec.Labels.none}}") == "front");
  CHECK(expand("{{.UpdateStatus.State}}{{.PreviousSpec.Name}}{{.Spec.Mode.Global}}") == "none");
}

TEST_CASE("template: functions, pipes and brackets", "[cli]") {
  TemplateFixture expand;
  CHECK(expand("{{json .Spec.Name}} {{.Spec.Name | json}}") == "\"web\" \"web\"");
  CHECK(expand("{{json .Spec.TaskTemplate.ContainerSpec.Args}}") == R"(["a","b \"c\""])");
  CHECK(expand("{{json .Meta}}") ==
        R"({"id":"abc","version":7,"createdAtNs":"1700000000000000000","updatedAtNs":0})");
  CHECK(expand("{{join .Spec.Task.Container.Args \", \"}}") == "a, b \"c\"");
  CHECK(expand("{{index .Spec.Labels \"tier\"}} {{len .Ports}}") == "front 2");
  CHECK(expand("{{(index .Endpoint.Ports 0).PublishedPort}}") == "8080");
  CHECK(expand("{{.Spec.Name | upper | lower | title}}{{println .ID `b`}}") == "Webabc b\n");
}

TEST_CASE("template: range and if, with else, and blanks taken away", "[cli]") {
  TemplateFixture expand;
  CHECK(expand(
            "{{range .Ports}}{{.TargetPort}}:{{if .PublishedPort}}yes{{else}}no{{end}} {{end}}.") ==
        "80:yes 81:no .");
  CHECK(expand("{{range .Spec.Task.Networks}}{{.Name}}{{else}}none{{end}}") == "none");
  CHECK(expand("{{range .Ports}}{{$.Spec.Name}}{{end}}") == "webweb");
  CHECK(expand("a  {{- /* nothing */ -}}  b {{- .ID -}} c") == "ababcc");
  CHECK(expand("{{if eq .Spec.Name \"web\"}}{{if .Spec.Labels}}both{{end}}{{end}}") == "both");
}

TEST_CASE("template: what is wrong is named", "[cli]") {
  TemplateFixture expand;
  struct Case {
    const char* text;
    const char* why;
  };
  for (auto [text, why] :
       std::vector<Case>{{"{{.Nme}}", "there is no field '.Nme'; there are .Meta,"},
                         {"{{.Spec.Name.X}}", "there is no '.X'"},
                         {"{{.ID", "'}}' is missing"},
                         {"{{}}{{range .Ports}}", "an {{end}} is missing"},
                         {"{{end}}", "has no beginning"},
                         {"{{jsn .}}", "there is no function 'jsn'"},
                         {"{{json}}", "'json' takes 1 values"},
                         {"{{.ID .ID}}", "one value or function is wanted"},
                         {"{{(.ID}}", "a ')' is missing"},
                         {"{{.ID)}}", "a ')' has no '('"},
                         {"{{index .Ports 2}}", "the list has 2 items, not 2"},
                         {"{{\"a}}", "a text has no end"},
                         {"{{|}}", "something is missing"},
                         {"{{.ID|}}", "something is missing"},
                         {"{{range .ID}}{{end}}", "range needs a list"},
                         {"{{%}}", "'%' is not understood"}}) {
    INFO(text);
    auto said = expand(text);
    CHECK_THAT(said, Catch::StartsWith("usage: invalid value '"));
    CHECK_THAT(said, Catch::Contains(why));
  }
}

}  // namespace
}  // namespace orch::cli
