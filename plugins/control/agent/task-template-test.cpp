// What is filled in for a task.
#include "lib/task-template.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::agent {
namespace {

struct FilledTask {
  FilledTask() {
    auto labels = message.initRoot<schema::Task>().initServiceLabels(2);
    labels[0].setKey("tier");
    labels[0].setValue("front");
    labels[1].setKey("com.example.odd");
    labels[1].setValue("{{.Task.ID}} \"x\"");
  }
  // What comes of it, or why nothing does.
  std::string operator()(const std::string& text) {
    auto labels = message.getRoot<schema::Task>().getServiceLabels().asReader();
    TemplateFacts facts{"s1",    "web",    labels, "n1",       "host-1",
                        "linux", "x86_64", "t1",   "web.3.t1", kj::str("3")};
    auto made = attemptNow([&] { return fillTemplate("the text", text.c_str(), facts); });
    return made.ok() ? made.value().cStr() : plainText(made.error()).cStr();
  }
  // Why it is refused before there is a task.
  std::string refusal(const char* text) {
    auto task = message.getRoot<schema::Task>();
    auto container = task.initSpec().initContainer();
    container.setHostname(text);
    auto made =
        attemptNow([&] { tryTemplates(container, "web", task.getServiceLabels().asReader()); });
    if (made.ok()) return "";
    std::string why = plainText(made.error()).cStr();
    auto begin = why.find("filled in: ") + 11;
    return why.substr(begin, why.rfind("; {{") - begin);
  }
  capnp::MallocMessageBuilder message;
};

TEST_CASE("template: all that a task may know of itself", "[agent]") {
  FilledTask fill;
  CHECK(fill("A={{.Service.ID}}/{{.Service.Name}}") == "A=s1/web");
  CHECK(fill("{{.Node.ID}} {{.Node.Hostname}} "
             "{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}") == "n1 host-1 linux/x86_64");
  CHECK(fill("{{.Task.ID}} {{ .Task.Name }} {{- .Task.Slot}}") == "t1 web.3.t13");
  CHECK(fill("{{.Service.Labels.tier}} {{index .Service.Labels \"tier\"}}") == "front front");
  CHECK(fill("{{index .Service.Labels \"none\"}}") == "");
  CHECK(fill("no template, but } and {") == "no template, but } and {");
}

TEST_CASE("template: what a label says is text", "[agent]") {
  FilledTask fill;
  CHECK(fill("{{index .Service.Labels \"com.example.odd\"}}") == "{{.Task.ID}} \"x\"");
  CHECK(fill("{{.Service.Labels}}") == "map[tier:front com.example.odd:{{.Task.ID}} \"x\"]");
  CHECK(fill("{{range .Service.Labels}}<{{.}}>{{end}}") == "<front><{{.Task.ID}} \"x\">");
}

TEST_CASE("template: functions and conditions", "[agent]") {
  FilledTask fill;
  CHECK(fill("{{join \"-\" .Service.Name .Task.Slot}}") == "web-3");
  CHECK(fill("{{if eq .Task.Slot \"3\"}}third{{else}}other{{end}}") == "third");
  CHECK(fill("{{if ne .Task.Slot \"3\"}}other{{else}}third{{end}}") == "third");
  CHECK(fill("{{.Service.Name | upper}}{{title (lower \"ABC\")}}{{len .Task.ID}}") == "WEBAbc2");
  CHECK(fill("{{print .Task.Slot \"x\"}}{{/* nothing */}}{{\"{{\"}}") == "3x{{");
}

TEST_CASE("template: what is wrong is told with its column", "[agent]") {
  FilledTask fill;
  CHECK(fill("A={{.Node.Name}}") ==
        "usage: the text 'A={{.Node.Name}}' has a template that cannot be filled in: there is no "
        "'.Name'; there are .ID, .Hostname, .Platform, at column 10; "
        "{{\"{{\"}} stands for {{ itself");
  CHECK(fill.refusal("{{.Task.Slot") == "'}}' is missing, at column 13");
  CHECK(fill.refusal("{{.Service.Labels.none}}") ==
        "the service has no label 'none', at column 18");
  CHECK(fill.refusal("{{.Node}}") == "one of the names in it is wanted, at column 3");
  CHECK(fill.refusal("x{{shout .Task.ID}}") ==
        "there is no function 'shout'; there are join, index, eq, ne, len, lower, upper, title, "
        "print and println, at column 4");
  CHECK(fill.refusal("{{if eq .Task.Slot \"9\"}}{{.Task.Sloth}}{{end}}") ==
        "there is no '.Sloth'; there are .ID, .Name, .Slot, at column 32");
  CHECK(fill.refusal("{{end}}") == "an {{end}} or {{else}} has no beginning, at column 8");
}

TEST_CASE("template: it ends", "[agent]") {
  FilledTask fill;
  std::string wide;
  for (int i = 0; i < 40; ++i) wide += "{{range $.Service.Labels}}";
  for (int i = 0; i < 40; ++i) wide += "{{end}}";
  CHECK_THAT(fill(wide), Catch::Contains("it takes too many steps"));
  CHECK_THAT(fill("{{" + std::string(1000, '(')), Catch::Contains("'}}' is missing"));
  CHECK_THAT(fill("{{" + std::string(1000, '(') + "}}"), Catch::Contains("too much in each other"));
}

}  // namespace
}  // namespace orch::control::agent
