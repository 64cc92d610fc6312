#include "kernel/kernel.h"

#include <capnp/serialize.h>
#include <kj/debug.h>
#include <unistd.h>

#include <fstream>

#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch {

namespace {

constexpr uint32_t API_VERSION = 1;

kj::Path absolute(const std::string& path) { return kj::Path::parse(path.c_str() + 1); }

uint64_t ownResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void setTexts(capnp::List<capnp::Text>::Builder list, const std::vector<std::string>& texts) {
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, texts[i].c_str());
}

}  // namespace

// The service `kernel`.
class Kernel::KernelServer final : public schema::Kernel::Server {
 public:
  explicit KernelServer(Kernel& kernel) : kernel(kernel) {}

  kj::Promise<void> plugins(PluginsContext context) override {
    auto runners = kernel.pluginSet->runners();
    auto list = context.getResults().initPlugins(runners.size());
    for (uint32_t i = 0; i < list.size(); ++i) runners[i]->describe(list[i]);
    return kj::READY_NOW;
  }
  kj::Promise<void> configShow(ConfigShowContext context) override {
    bool defaults = context.getParams().getDefaults();
    std::string text;
    for (auto* runner : kernel.pluginSet->runners()) {
      text += "[[plugin]]\nid = \"" + runner->entry().id + "\"\n[plugin.config]\n" +
              runner->settingsToml(defaults) + "\n";
    }
    context.getResults().setToml(text.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> configReload(ConfigReloadContext context) override { return doReload(context); }
  kj::Promise<void> events(EventsContext context) override {
    context.allowCancellation();
    return doEvents(context);
  }
  kj::Promise<void> logLevel(LogLevelContext context) override {
    auto params = context.getParams();
    auto* runner = kernel.pluginSet->find(params.getPlugin().cStr());
    if (runner == nullptr) fail(kj::str("no plugin '", params.getPlugin(), "' in the manifest"));
    return runner->setLogLevel(params.getLevel());
  }
  kj::Promise<void> metrics(MetricsContext context) override {
    auto results = context.getResults();
    results.setLoopLagMsMax(kernel.lagMeter->maxMs());
    results.setLoopLagMsP99(kernel.lagMeter->p99Ms());
    results.setUptimeMs((kernel.env.timer().now() - kernel.startedAt) / kj::MILLISECONDS);
    results.setRssBytes(ownResidentBytes());
    return kj::READY_NOW;
  }

 private:
  Task<void> doReload(ConfigReloadContext context) {
    auto result = co_await kernel.reload();
    auto results = context.getResults();
    setTexts(results.initApplied(result.applied.size()), result.applied);
    setTexts(results.initNeedRestart(result.needRestart.size()), result.needRestart);
  }

  Task<void> doEvents(EventsContext context) {
    auto params = context.getParams();
    auto sink = params.getSink();
    bool follow = params.getFollow();
    auto since = params.getSinceNs();
    std::vector<std::string> topics;
    for (auto topic : params.getTopics()) topics.emplace_back(topic.cStr());
    context.releaseParams();
    kj::Maybe<capnp::Capability::Client> subscription;
    if (since > 0) {
      auto batches = co_await kernel.eventLog->read(since);
      // Nothing can be published between the read's end and this.
      if (follow) subscription = kernel.eventBus->subscribe(topics, sink);
      for (auto& batch : batches) {
        kj::Vector<bus::EventWords*> wanted;
        for (auto& words : batch) {
          capnp::FlatArrayMessageReader reader(words);
          if (bus::Bus::matches(topics, reader.getRoot<schema::Event>().getTopic()))
            wanted.add(&words);
        }
        auto request = sink.eventsRequest();
        auto list = request.initEvents(wanted.size());
        for (uint32_t i = 0; i < list.size(); ++i) {
          capnp::FlatArrayMessageReader reader(*wanted[i]);
          list.setWithCaveats(i, reader.getRoot<schema::Event>());
        }
        co_await request.send().ignoreResult();
      }
    } else if (follow) {
      subscription = kernel.eventBus->subscribe(topics, sink);
    }
    if (follow) co_await kj::Promise<void>(kj::NEVER_DONE);
  }

  Kernel& kernel;
};

class Kernel::GatewayServer final : public schema::Gateway::Server {
 public:
  explicit GatewayServer(Kernel& kernel) : kernel(kernel) {}

  kj::Promise<void> version(VersionContext context) override {
    auto results = context.getResults();
    results.setVersion(ORCH_VERSION);
    results.setApi(API_VERSION);
    results.setNode(kernel.node.name.c_str());
    results.setPid(getpid());
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override { return findService(context); }

 private:
  Task<void> findService(ServiceContext context) {
    std::string name = context.getParams().getName().cStr();
    if (!kernel.registry.runs(name)) {
      std::string all;
      for (auto& known : kernel.registry.names("")) all += (all.empty() ? "" : ", ") + known;
      fail(kj::str("no service '", name.c_str(), "' runs on node '", kernel.node.name.c_str(),
                   "'; running: ", all.c_str(),
                   ". 'orch plugin ls' says why a plugin does not run"));
    }
    auto found = co_await kernel.registry.find(name);
    context.getResults().setCapability(found);
  }

  Kernel& kernel;
};

Kernel::Kernel(Env& env, config::Manifest manifest, plugin::PluginPlaces places,
               std::string manifestFile)
    : env(env),
      current(std::move(manifest)),
      manifestFile(std::move(manifestFile)),
      startedAt(env.timer().now()),
      registry(env.timer()),
      places(std::move(places)) {
  auto folder = absolute(current.node.data + "/events");
  eventLog = kj::heap<bus::EventLog>(env, folder, current.node.eventLogBytes);
  lagMeter = kj::heap<loop::LagMeter>(env.timer());
}

Kernel::~Kernel() noexcept(false) {}

Task<void> Kernel::readIdentity() {
  node.name = current.node.name;
  if (node.name.empty()) {
    char host[256] = {};
    gethostname(host, sizeof(host) - 1);
    node.name = host;
  }
  auto read = [&files = env.files(), path = current.node.data, fresh = env.newId()]() {
    constexpr auto MODE =
        kj::WriteMode::CREATE | kj::WriteMode::MODIFY | kj::WriteMode::CREATE_PARENT;
    auto& root = files.getRoot();
    auto file = absolute(path + "/node-id");
    if (root.exists(file)) return root.openFile(file)->readAllText();
    auto replacer = root.replaceFile(file, MODE);
    replacer->get().writeAll(fresh);
    replacer->get().datasync();
    replacer->commit();
    return kj::str(fresh);
  };
  auto id = co_await env.workers().run(kj::mv(read));
  constexpr size_t ID_LENGTH = 25;
  if (id.size() != ID_LENGTH) {
    fail(kj::str(
        "'", current.node.data.c_str(),
        "/node-id' is damaged: it must hold 25 characters; remove it to make this a new node"));
  }
  node.id = id.cStr();
}

Task<void> Kernel::start() {
  co_await readIdentity();
  auto cut = co_await eventLog->open();
  eventBus = kj::heap<bus::Bus>(env, *eventLog);
  registry.offer("kernel", kj::heap<KernelServer>(*this), ownStats, 30'000);
  eventBus->publish("node.started", node.id.c_str(), {{"version", ORCH_VERSION}});
  if (cut > 0) eventBus->publish("events.tornTail", node.id.c_str(), {{"cutBytes", kj::str(cut)}});
  plugin::NodeParts parts{env, current.node, node, *eventBus, registry};
  pluginSet = kj::heap<plugin::PluginSet>(parts, places);
  pluginSet->start(current.plugins);
  co_await pluginSet->onSettled();
}

Task<void> Kernel::stop() {
  if (pluginSet.get() != nullptr) co_await pluginSet->stop();
  if (eventBus.get() != nullptr) eventBus->publish("node.stopped", node.id.c_str());
  co_await eventLog->flush();
}

Task<plugin::ReloadResult> Kernel::reload() {
  if (manifestFile.empty()) fail(kj::str("this node was started without a manifest file"));
  auto read = [&files = env.files(), path = manifestFile]() {
    return config::readManifest(files.getRoot(), path);
  };
  auto fresh = co_await env.workers().run(kj::mv(read));
  auto result = co_await pluginSet->reload(fresh.plugins);
  current.plugins = std::move(fresh.plugins);
  eventBus->publish("config.reloaded", node.id.c_str());
  co_return kj::mv(result);
}

schema::Gateway::Client Kernel::gateway() { return kj::heap<GatewayServer>(*this); }

}  // namespace orch
