#include "kernel/kernel.h"

#include <kj/debug.h>
#include <unistd.h>

#include "kernel/bus/event-feed.h"
#include "kernel/config/show.h"
#include "kernel/rpc/peer-gateway.h"
#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch {

namespace {

// How long a client that asks for a plugin's service waits for a node that has just been started.
constexpr uint64_t START_PATIENCE_MS = 30'000;

kj::Path absolute(const std::string& path) { return kj::Path::parse(path.c_str() + 1); }

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
    std::string text = config::nodeToml(kernel.current.node, kernel.node.name, defaults);
    for (auto* runner : kernel.pluginSet->runners()) {
      if (runner->entry().fromNode) continue;  // is in [node]
      auto isolation = runner->isolated() ? config::Isolation::PROCESS : config::Isolation::KERNEL;
      text += "\n" +
              config::pluginToml(runner->entry(), isolation, runner->settingsToml(true), defaults);
    }
    context.getResults().setToml(text.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> configReload(ConfigReloadContext context) override { return doReload(context); }
  kj::Promise<void> events(EventsContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    bus::FeedRequest request;
    request.sinceNs = params.getSinceNs();
    request.follow = params.getFollow();
    for (auto topic : params.getTopics()) request.topics.emplace_back(topic.cStr());
    auto sink = params.getSink();
    context.releaseParams();
    return bus::feedEvents(*kernel.eventLog, *kernel.eventBus, std::move(request), kj::mv(sink));
  }

 private:
  Task<void> doReload(ConfigReloadContext context) {
    auto result = co_await kernel.reload();
    auto results = context.getResults();
    setTexts(results.initApplied(result.applied.size()), result.applied);
    setTexts(results.initNeedRestart(result.needRestart.size()), result.needRestart);
  }

  Kernel& kernel;
};

class Kernel::GatewayServer final : public schema::Gateway::Server {
 public:
  explicit GatewayServer(Kernel& kernel) : kernel(kernel) {}

  kj::Promise<void> version(VersionContext context) override {
    auto results = context.getResults();
    results.setVersion(ORCH_VERSION);
    results.setApi(rpc::API_VERSION);
    results.setNode(kernel.node.name.c_str());
    results.setPid(getpid());
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override { return findService(context); }
  kj::Promise<void> services(ServicesContext context) override {
    auto names = kernel.registry.names("");
    setTexts(context.getResults().initNames(names.size()), names);
    return kj::READY_NOW;
  }

 private:
  Task<void> findService(ServiceContext context) {
    std::string name = context.getParams().getName().cStr();
    if (!kernel.registry.runs(name)) co_await kernel.whenOffered(name);
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
      logger("kernel", log::levelNamed(current.node.logLevel)),
      trust(env, logger, registry, current.node.data, current.node.listen),
      places(std::move(places)) {
  auto folder = absolute(current.node.data + "/events");
  eventLog = kj::heap<bus::EventLog>(env, folder, current.node.eventLogBytes);
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
  co_await trust.load();
  if (trust.nodeId().size() > 0) node.id = trust.nodeId().cStr();
}

Task<void> Kernel::open() {
  co_await readIdentity();
  eventLog->watch(*this);
  auto opened = co_await eventLog->open();
  eventBus = kj::heap<bus::Bus>(env, *eventLog);
  plugin::NodeParts parts{env, current.node, node, *eventBus, registry};
  pluginSet = kj::heap<plugin::PluginSet>(parts, places);
  registry.offer("kernel", kj::heap<KernelServer>(*this));
  registry.offer("trust", trust.service());
  auto forPeer = [this](schema::Peer::Reader peer) { return gatewayFor(peer); };
  co_await trust.begin(kj::mv(forPeer));
  eventBus->publish("node.started", node.id.c_str(), {{"version", ORCH_VERSION}});
  if (opened.cutBytes > 0) {
    eventBus->publish("events.tornTail", node.id.c_str(), {{"cutBytes", kj::str(opened.cutBytes)}});
  }
  if (opened.damagedBytes > 0) {
    eventBus->publish("events.damaged", node.id.c_str(), {{"bytes", kj::str(opened.damagedBytes)}});
  }
  pluginSet->start(current.plugins);
}

Task<void> Kernel::start() {
  if (pluginSet.get() == nullptr) co_await open();
  co_await pluginSet->onSettled();
  settled = true;
}

Task<void> Kernel::stop() {
  settled = true;
  auto& timer = env.timer();
  if (pluginSet.get() != nullptr) {
    auto late = timer.afterDelay(STOP_DEADLINE_MS * kj::MILLISECONDS).then([this]() {
      logger.write(schema::LogLevel::WARN, "kernel.stop-late, ending without those that drain");
    });
    co_await pluginSet->stop().promise().exclusiveJoin(kj::mv(late));
  }
  if (eventBus.get() != nullptr) eventBus->publish("node.stopped", node.id.c_str());
  auto enough = timer.afterDelay(FLUSH_DEADLINE_MS * kj::MILLISECONDS);
  co_await eventLog->flush().promise().exclusiveJoin(kj::mv(enough));
}

Task<plugin::ReloadResult> Kernel::reload() {
  if (manifestFile.empty()) fail(kj::str("this node was started without a manifest file"));
  if (reloads >= MAX_RELOADS) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many reloads wait already"));
  }
  ++reloads;
  auto mine = kj::newPromiseAndFulfiller<void>();
  auto before = kj::mv(lastReload);
  lastReload = kj::mv(mine.promise);
  KJ_DEFER({
    --reloads;
    mine.fulfiller->fulfill();
  });
  co_await before;
  co_return co_await reloadNow();
}

Task<plugin::ReloadResult> Kernel::reloadNow() {
  auto read = [&files = env.files(), path = manifestFile,
               labels = current.node.commandLineLabels]() {
    auto fresh = config::readManifest(files.getRoot(), path);
    for (auto& [key, value] : labels) config::addCommandLineLabel(fresh.node, key, value);
    return fresh;
  };
  auto fresh = co_await env.workers().run(kj::mv(read));
  auto result = co_await pluginSet->reload(fresh.plugins);
  current.plugins = std::move(fresh.plugins);
  current.node.discovery = std::move(fresh.node.discovery);  // is in the plugins
  for (auto& key : config::changedKeys(current.node, fresh.node)) {
    if (key != "logLevel") {
      result.needRestart.push_back("[node] " + key);
      continue;
    }
    current.node.logLevel = fresh.node.logLevel;
    auto level = log::levelNamed(current.node.logLevel);
    logger.setLevel(level);
    pluginSet->setLogLevel(level);
    result.applied.push_back("[node] logLevel");
  }
  eventBus->publish("config.reloaded", node.id.c_str());
  co_return kj::mv(result);
}

void Kernel::writeFailed(kj::StringPtr reason) {
  log::LogFields fields;
  fields.emplace_back("folder", kj::str(current.node.data.c_str(), "/events"));
  fields.emplace_back("reason", kj::str(reason));
  logger.write(schema::LogLevel::WARN, "events.write-failed, trying again every second", fields);
}

void Kernel::writeWorks(uint64_t dropped) {
  log::LogFields fields;
  fields.emplace_back("dropped", kj::str(dropped));
  auto level = dropped > 0 ? schema::LogLevel::WARN : schema::LogLevel::INFO;
  logger.write(level, "events.write-works", fields);
  if (dropped == 0) return;
  eventBus->publish("events.dropped", node.id.c_str(), {{"events", kj::str(dropped)}});
}

// To a node that has just been started, what the manifest has may still come.
kj::Promise<void> Kernel::whenOffered(const std::string& name) {
  if (settled || pluginSet.get() == nullptr) return kj::READY_NOW;
  auto enough = env.timer().afterDelay(START_PATIENCE_MS * kj::MILLISECONDS);
  auto over = pluginSet->onSettled().exclusiveJoin(kj::mv(enough));
  return over.exclusiveJoin(registry.find(name).ignoreResult());
}

schema::Gateway::Client Kernel::gateway() { return kj::heap<GatewayServer>(*this); }

schema::Gateway::Client Kernel::gatewayFor(schema::Peer::Reader peer) {
  auto found = rpc::newPeerGateway(registry, trust.refusals(), node.name, peer);
  if (peer.getRole() != schema::Role::ADMIN) return found;
  // The plugin that lets admins in has this service, too.
  return rpc::newAdminGateway(whenOffered("renewal"), kj::mv(found), gateway());
}

}  // namespace orch
