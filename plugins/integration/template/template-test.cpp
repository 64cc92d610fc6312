// The plugin's own file, with a real consul.
#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "config.capnp.h"
#include "consul/testing/test-consul.h"
#include "orch/attempt.h"
#include "orch/schema/template.capnp.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::integration::templates {
namespace {

using orch::consul::TestConsul;

struct World {
  explicit World(kj::StringPtr name) : folder(name) { mkdir(folder.path().cStr(), 0755); }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  kj::WaitScope& scope = io.waitScope;
  testing::TestFolder folder;

  std::string path(kj::StringPtr name) { return folder.sub(name).cStr(); }
  void write(kj::StringPtr name, const std::string& text) {
    std::ofstream(path(name) + ".w") << text;
    std::filesystem::rename(path(name) + ".w", path(name));
  }
  std::string read(kj::StringPtr name) {
    std::ifstream file(path(name));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, scope, what, kj::mv(reached));
  }
  void untilFile(kj::StringPtr name, const std::string& content) {
    until(kj::str("'", name, "' to be '", content.c_str(), "'"),
          [this, name, &content] { return read(name) == content; });
  }
};

struct Node {
  Node(World& world, testing::Isolation isolation)
      : world(world),
        module(*world.env, ORCH_MODULE, isolation, world.scope),
        host("/nowhere", "/nowhere", "integration.template") {
    settings = message.initRoot<Config>();
  }
  Template::Builder addTemplate(kj::StringPtr source, kj::StringPtr destination) {
    auto one = settings.initTemplates(1)[0];
    one.setSource(world.path(source).c_str());
    one.setDestination(world.path(destination).c_str());
    return one;
  }
  void start() {
    host.configure(module.plugin(), settings.asReader(), world.scope);
    service = host.start<schema::Templates>(module.plugin(), "integration.template", world.scope);
  }
  std::string render(const std::string& text) {
    auto request = service.renderRequest();
    request.setName("t");
    request.setText(text.c_str());
    auto outcome = attempt(request.send()).wait(world.scope);
    if (!outcome.ok()) return std::string("<") + outcome.message().cStr() + ">";
    return outcome.value().getText().cStr();
  }
  // The state of the first template and why.
  std::string state() {
    auto answer = service.listRequest().send().wait(world.scope);
    auto one = answer.getTemplates()[0];
    const char* names[] = {"waiting", "rendered", "failed"};
    return std::string(names[static_cast<uint16_t>(one.getState())]) + " " + one.getReason().cStr();
  }
  World& world;
  testing::PluginModule module;
  testing::TestHost host;
  capnp::MallocMessageBuilder message;
  Config::Builder settings = nullptr;
  schema::Templates::Client service = nullptr;
};

void registerService(TestConsul& consul, const std::string& id, int port,
                     const std::string& name = "httpd") {
  consul.ctl({"services", "register", "-name=" + name, "-id=" + id, "-address=10.0.0.1",
              "-port=" + std::to_string(port), "-tag=b", "-tag=a"});
}

constexpr const char* UPSTREAM = "{{range service \"httpd\"}}server {{.Address}}:{{.Port}}{{end}}";

TEST_CASE("template: the file follows a service of consul", "[template][consul]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  World world("template-follows");
  TestConsul consul(*world.env, world.scope, "template-consul");
  consul.waitForLeader();
  world.write("in", UPSTREAM);
  Node node(world, isolation);
  node.settings.initConsul(1).set(0, consul.url().c_str());
  node.addTemplate("in", "folder/out");
  node.start();
  world.until("the file", [&] { return std::filesystem::exists(world.path("folder/out")); });
  CHECK(world.read("folder/out").empty());
  registerService(consul, "one", 7070);
  world.untilFile("folder/out", "server 10.0.0.1:7070");
  consul.ctl({"services", "deregister", "-id=one"});
  world.untilFile("folder/out", "");
  world.until("it to be well", [&] { return node.state() == "rendered "; });
  // Another template.
  world.write("in", "{{range services}}{{.Name}};{{end}}");
  world.untilFile("folder/out", "consul;");
  registerService(consul, "one", 7071);
  world.untilFile("folder/out", "consul;httpd;");
}

TEST_CASE("template: everything that consul knows can be asked for", "[template][consul]") {
  World world("template-asks");
  TestConsul consul(*world.env, world.scope, "template-asks-consul");
  consul.waitForLeader();
  Node node(world, testing::Isolation::KERNEL);
  node.settings.initConsul(1).set(0, consul.url().c_str());
  node.start();
  consul.ctl({"kv", "put", "app/a b/max", "15"});
  consul.ctl({"kv", "put", "app/min", "5"});
  registerService(consul, "one", 7070);
  registerService(consul, "two", 7071);
  world.write("file", "from disk");
  CHECK(node.render("{{range service `httpd`}}{{.ID}} {{.Port}} {{.Tags | join `,`}};{{end}}") ==
        "one 7070 a,b;two 7071 a,b;");
  CHECK(node.render("{{len (service `a.httpd`)}}{{len (service `c.httpd`)}}") == "20");
  CHECK(node.render("{{range services}}{{.Name}} {{end}}") == "consul httpd ");
  CHECK(node.render("{{range services}}{{range service .Name}}{{.ID}} {{end}}{{end}}") ==
        "consul one two ");
  CHECK(node.render("{{key `app/a b/max`}} {{key `/app/min`}}") == "15 5");
  CHECK(node.render("{{keyOrDefault `app/none` `7`}} {{keyExists `app/min`}}") == "7 true");
  CHECK(node.render("{{range tree `app`}}{{.Key}}={{.Value}} {{end}}") == "a b/max=15 min=5 ");
  CHECK(node.render("{{range ls `app`}}{{.Key}}={{.Value}} {{end}}{{range ls `none`}}x{{end}}") ==
        "min=5 ");
  CHECK(node.render("{{with node}}{{.Node.Node}} {{len .Services}}{{end}}") == "m0 3");
  CHECK(node.render("{{range nodes}}{{.Node}} {{.Address}}{{end}}") == "m0 127.0.0.1");
  CHECK(node.render("{{range datacenters}}{{.}}{{end}}") == "dc1");
  CHECK(node.render("{{file `" + world.path("file") + "`}}") == "from disk");
  CHECK(node.render("{{file `" + world.path("none") + "`}}") ==
        "<file '" + world.path("none") + "': '" + world.path("none") + "' does not exist>");
  // Refused with the place, or with what consul says.
  CHECK(node.render("a\n {{nosuch}}") == "<t:2:4: there is no function 'nosuch'>");
  CHECK(node.render("{{service `a b`}}") == "<t:1:3: service: 'a b' has to name a service>");
  auto refused = node.render("{{service `httpd@nowhere`}}");
  CHECK(refused.find("<service 'httpd@nowhere': consul at ") == 0);
  CHECK(refused.find("No path to datacenter") != std::string::npos);
  // A key that is not there yet.
  auto request = node.service.renderRequest();
  request.setText("{{key `later`}}");
  auto waiting = request.send();
  CHECK(!waiting.poll(world.scope));
  consul.ctl({"kv", "put", "later", "here"});
  CHECK(waiting.wait(world.scope).getText() == "here");
}

TEST_CASE("template: more questions than consul takes connections take turns",
          "[template][consul]") {
  World world("template-many");
  TestConsul consul(*world.env, world.scope, "template-many-consul");
  consul.waitForLeader();
  world.write("in", "{{range loop 300}}{{keyOrDefault (print `k` .) `-`}}{{end}}");
  Node node(world, testing::Isolation::KERNEL);
  node.settings.initConsul(1).set(0, consul.url().c_str());
  node.addTemplate("in", "out");
  node.start();
  world.untilFile("out", std::string(300, '-'));
  consul.ctl({"kv", "put", "k299", "x"});
  world.untilFile("out", std::string(299, '-') + "x");
  consul.ctl({"kv", "put", "k0", "y"});
  world.untilFile("out", "y" + std::string(298, '-') + "x");
}

TEST_CASE("template: without a consul files can be read, and nothing else", "[template]") {
  World world("template-alone");
  Node node(world, testing::Isolation::KERNEL);
  world.write("in", "[{{file \"" + world.path("part") + "\"}}]");
  node.addTemplate("in", "out");
  node.start();
  auto waits =
      "waiting file '" + world.path("part") + "': '" + world.path("part") + "' does not exist";
  world.until("the missing file to be missed", [&] { return node.state() == waits; });
  CHECK(!std::filesystem::exists(world.path("out")));
  world.write("part", "1");
  world.untilFile("out", "[1]");
  world.write("part", "2");
  world.untilFile("out", "[2]");
  CHECK(node.render("{{key `a`}}") ==
        "<nobody here answers key 'a'; name the agents of a consul in the setting 'consul'>");
  CHECK(node.host.events().back().topic == "template.rendered");
  CHECK(node.host.events().back().subject == world.path("out"));
}

TEST_CASE("template: a bad template leaves the file as it is", "[template]") {
  World world("template-bad");
  Node node(world, testing::Isolation::KERNEL);
  world.write("in", "1");
  node.addTemplate("in", "out");
  node.start();
  world.untilFile("out", "1");
  world.write("in", "a\n{{nosuch}}");
  auto failed = "failed " + world.path("in") + ":2:3: there is no function 'nosuch'";
  world.until("it to fail", [&] { return node.state() == failed; });
  CHECK(world.read("out") == "1");
  world.write("in", "{{index (split `,` `a`) 7}}");
  failed = "failed " + world.path("in") + ":1:3: index: there is no index 7, of 1";
  world.until("it to fail again", [&] { return node.state() == failed; });
  CHECK(world.read("out") == "1");
  world.write("in", "2");
  world.untilFile("out", "2");
  world.until("it to be well", [&] { return node.state() == "rendered "; });
  std::vector<std::string> warnings;
  for (auto& line : node.host.logLines()) {
    if (line.starts_with("warn")) warnings.push_back(line);
  }
  CHECK(warnings == std::vector<std::string>(2, "warn template.failed, the file stays as it is"));
}

TEST_CASE("template: a consul that dies leaves the file, and is asked again",
          "[template][consul]") {
  World world("template-dies");
  TestConsul consul(*world.env, world.scope, "template-dies-consul");
  consul.waitForLeader();
  registerService(consul, "one", 7070);
  world.write("in", UPSTREAM);
  Node node(world, testing::Isolation::KERNEL);
  node.settings.initConsul(1).set(0, consul.url().c_str());
  node.addTemplate("in", "out");
  node.start();
  world.untilFile("out", "server 10.0.0.1:7070");
  consul.kill();
  world.until("it to be missed",
              [&] { return node.state().find("rendered service 'httpd': consul at ") == 0; });
  CHECK(world.read("out") == "server 10.0.0.1:7070");
  CHECK(node.render("{{range service `httpd`}}{{end}}").find("<service 'httpd': consul at") == 0);
  consul.start();
  consul.waitForLeader();
  registerService(consul, "one", 7071);
  world.untilFile("out", "server 10.0.0.1:7071");
  world.until("it to be well", [&] { return node.state() == "rendered "; });
}

// Somebody who answers every question with the same.
class Stranger final {
 public:
  Stranger(World& world, std::string body)
      : answer("HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nConnection: close\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body) {
    auto address = world.env->network().parseAddress("127.0.0.1", 0).wait(world.scope);
    receiver = address->listen();
    accepting = accept().promise().eagerlyEvaluate(nullptr);
  }
  std::string url() { return "http://127.0.0.1:" + std::to_string(receiver->getPort()); }

 private:
  Task<void> accept() {
    for (;;) {
      auto stream = co_await receiver->accept();
      char buffer[4096];
      co_await stream->tryRead(buffer, 1, sizeof buffer);
      co_await stream->write(answer.data(), answer.size());
    }
  }
  const std::string answer;
  kj::Own<kj::ConnectionReceiver> receiver;
  kj::Promise<void> accepting = nullptr;
};

TEST_CASE("template: an answer that is none leaves the file", "[template]") {
  World world("template-stranger");
  Stranger stranger(world, "[{\"Node\": 1}]");
  Node node(world, testing::Isolation::KERNEL);
  node.settings.initConsul(1).set(0, stranger.url().c_str());
  world.write("in", UPSTREAM);
  world.write("out", "as it was");
  node.addTemplate("in", "out");
  node.start();
  auto waits = "waiting service 'httpd': consul answers what no consul does: no 'Service'";
  world.until("the answer to be refused", [&] { return node.state() == waits; });
  CHECK(world.read("out") == "as it was");
  CHECK(node.render("{{nodes}}").find("<nodes: consul answers what no consul does: ") == 0);
}

TEST_CASE("template: a check that fails keeps the file, a command that fails is run again",
          "[template]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  World world("template-commands");
  Node node(world, isolation);
  world.write("in", "good 1");
  auto one = node.addTemplate("in", "out");
  auto words = one.initCheck(3);
  words.set(0, "grep");
  words.set(1, "good");
  words.set(2, "%s");
  auto command = one.initCommand(2);
  command.set(0, "ls");
  command.set(1, world.path("up").c_str());
  node.start();
  auto failed = "failed the command 'ls' for '" + world.path("out") + "' ended with 2";
  world.until("the command to fail", [&] { return node.state().find(failed) == 0; });
  CHECK(world.read("out") == "good 1");
  world.write("up", "");
  world.until("the command to succeed", [&] { return node.state() == "rendered "; });
  world.write("in", "worse");
  failed = "failed the check 'grep' for '" + world.path("out") + "' ended with 1";
  world.until("the check to fail", [&] { return node.state() == failed; });
  CHECK(world.read("out") == "good 1");
  world.write("in", "good 2");
  world.untilFile("out", "good 2");
  // Nothing writes into the folder any more when it goes.
  world.until("the command to be done", [&] { return node.state() == "rendered "; });
}

}  // namespace
}  // namespace orch::integration::templates
