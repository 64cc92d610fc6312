#include "orch/plugin.h"

#include <unistd.h>

#include "consul-source.h"
#include "file-source.h"
#include "orch-source.h"
#include "orch/fail.h"
#include "orch/schema/template.capnp.h"
#include "settings.h"

namespace orch::integration::templates {
namespace {

constexpr size_t MAX_TEXT_BYTES = 1 << 20;

// What a template finds by `env`: what the process was started with.
SharedVariables ownVariables() {
  auto variables = std::make_shared<Variables>();
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    (*variables)[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  }
  return variables;
}

// All that the capability, which may live longer, and the instance need.
class Engine final : public kj::Refcounted {
 public:
  Engine(Env& env, Host& host, Config::Reader config)
      : env(env),
        consul(env, consulSettings(config)),
        files(env),
        orch(env, host, orchSettings(config)),
        watches(sources()) {
    orch.answerFor(watches);
    auto variables = ownVariables();
    for (auto& settings : templateSettings(config)) {
      runners.add(kj::heap<Runner>(env, host, watches, turns, variables, kj::mv(settings)));
    }
  }
  void start(Host& host) {
    for (auto& runner : runners) {
      auto running = runner->run().promise().eagerlyEvaluate([&host](kj::Exception&& e) {
        host.log().error("template.stopped", {{"reason", e.getDescription()}});
      });
      runs.add(kj::mv(running));
    }
  }
  // Nothing of the host is touched from then on.
  void end() {
    runs.clear();
    runners.clear();
    orch.end();
  }

  Env& env;
  ConsulSource consul;
  FileSource files;
  OrchSource orch;
  Watches watches;
  Turns turns;
  kj::Vector<kj::Own<Runner>> runners;

 private:
  kj::Vector<Source*> sources() {
    kj::Vector<Source*> all;
    all.add(&files);
    all.add(&orch);
    all.add(&consul);
    return all;
  }
  kj::Vector<kj::Promise<void>> runs;
};

class TemplatesServer final : public schema::Templates::Server {
 public:
  explicit TemplatesServer(kj::Own<Engine> engine) : engine(kj::mv(engine)) {}

  kj::Promise<void> render(RenderContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    if (params.getText().size() > MAX_TEXT_BYTES) fail(kj::str("a template has at most 1 MiB"));
    auto variables = std::make_shared<Variables>();
    for (auto one : params.getVariables())
      (*variables)[one.getKey().cStr()] = one.getValue().cStr();
    kj::Promise<std::string> text =
        renderText(engine->env, engine->watches, params.getName().cStr(), params.getText().cStr(),
                   kj::mv(variables));
    auto done = text.then([context](std::string result) mutable {
      context.getResults().setText(kj::StringPtr(result.c_str(), result.size()));
    });
    return done.attach(thisCap());
  }
  kj::Promise<void> list(ListContext context) override {
    auto all = context.getResults().initTemplates(static_cast<uint32_t>(engine->runners.size()));
    for (uint32_t i = 0; i < all.size(); ++i) fill(all[i], *engine->runners[i]);
    return kj::READY_NOW;
  }

 private:
  static void fill(schema::TemplateStatus::Builder to, const Runner& runner) {
    to.setSource(runner.of().source.c_str());
    to.setDestination(runner.of().destination.path.c_str());
    to.setReason(runner.reason().c_str());
    to.setRenderedAtNs(runner.renderedAtNs());
    using State = schema::TemplateStatus::State;
    bool rendered = runner.state() == Runner::State::RENDERED;
    bool failed = runner.state() == Runner::State::FAILED;
    to.setState(rendered ? State::RENDERED : failed ? State::FAILED : State::WAITING);
  }
  kj::Own<Engine> engine;
};

class TemplatePlugin final : public PluginInstance {
 public:
  TemplatePlugin(Env& env, Host& host, Config::Reader config)
      : host(host), engine(kj::refcounted<Engine>(env, host, config)) {}
  ~TemplatePlugin() noexcept(false) override { engine->end(); }

  Task<Services> start() override {
    engine->start(host);
    Services services;
    services.add(host.node().instance,
                 schema::Templates::Client(kj::heap<TemplatesServer>(kj::addRef(*engine))));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  kj::Own<Engine> engine;
};

}  // namespace
}  // namespace orch::integration::templates

ORCH_PLUGIN("integration", "template", "1.0.0", orch::integration::templates::TemplatePlugin,
            orch::integration::templates::Config,
            orch::Calls{"cluster", "cluster-tasks", "tasks", "trust"},
            orch::Capabilities{CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE, CAP_KILL})
