#include "services.h"

#include "orch/fail.h"

namespace orch::control::agent {

NodeServices::NodeServices(Env& env, Host& host, Config::Reader settings)
    : env(env), host(host), settings(settings) {}

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

Task<void> NodeServices::retainNetwork(kj::StringPtr name, kj::Array<kj::String> taskIds) {
  auto driver = network(name);
  co_await insist(env, [&]() {
    auto request = driver.retainRequest();
    auto ids = request.initTaskIds(taskIds.size());
    for (uint32_t i = 0; i < ids.size(); ++i) ids.set(i, taskIds[i]);
    return request.send();
  });
  networkRetained.pair.fulfiller->fulfill();
}

Task<void> NodeServices::retainImages(kj::Array<kj::String> taskIds) {
  auto store = images();
  co_await insist(env, [&]() {
    auto request = store.retainHoldersRequest();
    auto ids = request.initHolders(taskIds.size());
    for (uint32_t i = 0; i < ids.size(); ++i) ids.set(i, taskIds[i]);
    return request.send();
  });
  imagesRetained.pair.fulfiller->fulfill();
}

}  // namespace orch::control::agent
