#include "orch/plugin.h"

#include <capnp/rpc-twoparty.h>
#include <kj/debug.h>

#include <csignal>

namespace orch {

namespace {

constexpr unsigned SETTINGS_WORDS = 64;  // to begin with
constexpr uint64_t MAX_SETTINGS_WORDS = 1 << 20;

// Turns the life cycle's calls into those of an instance.
class PluginAdapter final : public schema::Plugin::Server {
 public:
  PluginAdapter(Env& env, MakeInstance make) : env(env), make(make) {}

  kj::Promise<void> configure(ConfigureContext context) override { return doConfigure(context); }
  kj::Promise<void> recover(RecoverContext) override { return running().recover(); }
  kj::Promise<void> start(StartContext context) override { return doStart(context); }
  kj::Promise<void> stop(StopContext) override { return running().stop(); }
  kj::Promise<void> logLevel(LogLevelContext context) override {
    KJ_IF_MAYBE (present, host) (*present)->log().setLevel(context.getParams().getLevel());
    return kj::READY_NOW;
  }

 private:
  Task<void> doConfigure(ConfigureContext context) {
    KJ_REQUIRE(instance == nullptr, "a plugin is configured once");
    auto params = context.getParams();
    auto kernel = params.getHost();
    KJ_REQUIRE(params.getSettings().targetSize().wordCount < MAX_SETTINGS_WORDS,
               "settings are too large");
    settings.getRoot<capnp::AnyPointer>().set(params.getSettings());
    auto answer = co_await kernel.nodeRequest().send();
    NodeFacts facts;
    facts.id = kj::str(answer.getId());
    facts.name = kj::str(answer.getName());
    facts.dataDir = kj::str(answer.getDataDir());
    facts.runDir = kj::str(answer.getRunDir());
    facts.version = kj::str(answer.getVersion());
    facts.instance = kj::str(answer.getInstance());
    for (auto label : answer.getLabels()) {
      facts.labels.add(NodeFacts::Label{kj::str(label.getKey()), kj::str(label.getValue())});
    }
    for (auto resource : answer.getGeneric()) {
      auto& known = facts.resources.add(
          NodeFacts::Resource{kj::str(resource.getKind()), resource.getAmount(), {}});
      for (auto name : resource.getNames()) known.names.add(kj::str(name));
    }
    auto& made = *host.emplace(kj::heap<Host>(kj::mv(kernel), kj::mv(facts)));
    instance = make(env, made, settings.getRoot<capnp::AnyPointer>().asReader());
  }

  Task<void> doStart(StartContext context) {
    auto services = co_await running().start();
    auto list = context.getResults().initServices(services.entries.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setName(services.entries[i].name);
      auto& entry = services.entries[i];
      KJ_IF_MAYBE (capability, entry.capability) list[i].setCapability(*capability);
      KJ_IF_MAYBE (peers, entry.peers) list[i].setPeers(*peers);
    }
  }

  PluginInstance& running() {
    return *KJ_REQUIRE_NONNULL(instance, "this plugin is not configured yet");
  }

  Env& env;
  MakeInstance make;
  capnp::MallocMessageBuilder settings{SETTINGS_WORDS};  // before the instance, which reads it
  kj::Maybe<kj::Own<Host>> host;
  kj::Maybe<kj::Own<PluginInstance>> instance;
};

}  // namespace

schema::Plugin::Client newPlugin(Env& env, MakeInstance make) {
  return kj::heap<PluginAdapter>(env, make);
}

int servePlugin(int fd, MakeInstance make) {
  signal(SIGPIPE, SIG_IGN);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto stream = io.lowLevelProvider->wrapSocketFd(fd, kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP);
  capnp::TwoPartyClient connection(*stream, newPlugin(*env, make),
                                   capnp::rpc::twoparty::Side::SERVER);
  connection.onDisconnect().wait(io.waitScope);
  return 0;
}

}  // namespace orch
