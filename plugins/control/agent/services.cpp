#include "services.h"

#include "orch/fail.h"

namespace orch::control::agent {

NodeServices::NodeServices(Env& env, Host& host, Config::Reader settings, LeftoverCleaner& cleaner,
                           TaskFeed::Source& tasks)
    : env(env),
      host(host),
      settings(settings),
      architecture(env.hardware().architecture),
      networks(
          env, host.log(),
          [this](kj::StringPtr service) { return named(service).castAs<schema::NetworkTables>(); }),
      mesh(env, host.log(), [this]() { return ports(); }),
      feed(env, tasks, settings.getLeaveLimitMs()),
      cleaner(cleaner) {}

// One client of each, for all tasks: it stays good when the plugin behind it starts again.
capnp::Capability::Client NodeServices::named(kj::StringPtr service) {
  auto known = clients.find(service.cStr());
  if (known == clients.end()) {
    auto client = host.service<capnp::Capability>(service);
    known = clients.emplace(service.cStr(), kj::mv(client)).first;
  }
  return known->second;
}

Task<kj::Vector<kj::String>> NodeServices::running(kj::StringPtr prefix) {
  auto request = host.client().servicesRequest();
  request.setPrefix(prefix);
  auto answer = co_await request.send();
  kj::Vector<kj::String> names;
  for (auto name : answer.getNames()) {
    names.add(kj::str(name));
    seen.insert(name.cStr());
  }
  co_return kj::mv(names);
}

Task<kj::Vector<kj::String>> NodeServices::runtimes() {
  auto present = co_await running("runtime.");
  kj::Vector<kj::String> ordered;
  for (auto preferred : settings.getRuntimes()) {
    for (auto& service : present) {
      if (service == kj::str("runtime.", preferred)) ordered.add(kj::str(preferred));
    }
  }
  co_return kj::mv(ordered);
}

Task<kj::String> NodeServices::runtimeFor(kj::StringPtr name) {
  if (name.size() > 0) {
    auto service = kj::str("runtime.", name);
    co_await mustRun(service);
    co_return kj::mv(service);
  }
  auto ordered = co_await runtimes();
  if (ordered.size() == 0)
    fail(kj::str("no runtime works on this node; 'orch plugin ls' says why"));
  co_return kj::str("runtime.", ordered[0]);
}

Task<void> NodeServices::mustRun(kj::StringPtr service) {
  auto name = kj::str(service);
  auto offered = named(name).whenResolved().then([]() { return true; });
  auto late =
      env.timer().afterDelay(START_PATIENCE_MS * kj::MILLISECONDS).then([]() { return false; });
  bool runs = co_await offered.exclusiveJoin(kj::mv(late));
  if (!runs) {
    fail(kj::str("plugin '", name, "' does not run on this node; 'orch plugin ls' says why"));
  }
  seen.insert(name.cStr());
}

kj::Promise<void> NodeServices::cleared(kj::StringPtr service) {
  auto known = clearings.find(service.cStr());
  if (known == clearings.end()) {
    auto clearing = cleaner.clear(kj::str(service)).promise().fork();
    known = clearings.emplace(service.cStr(), kj::mv(clearing)).first;
  }
  return known->second.addBranch();
}

}  // namespace orch::control::agent
