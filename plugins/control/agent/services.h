// The node's other plugins as the agent calls them, and how it insists.
#pragma once

#include <string>
#include <vector>

#include "config.capnp.h"
#include "orch/attempt.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/image.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/schema/runtime.capnp.h"

namespace orch::control::agent {

// A call that meets a plugin between two lives is made again: after 100 ms, doubled, at most 8
// times.
constexpr int CALL_ATTEMPTS = 8;
constexpr uint64_t FIRST_PAUSE_MS = 100;

// `make` starts the call; it is no coroutine and outlives this one.
template <typename Make>
auto insist(Env& env, Make make) -> Task<decltype(make().wait(kj::instance<kj::WaitScope&>()))> {
  for (int tries = 1;; ++tries) {
    auto call = make();
    auto outcome = co_await attempt(kj::mv(call));
    if (outcome.ok()) co_return kj::mv(outcome.value());
    auto type = outcome.error().getType();
    bool passing =
        type == kj::Exception::Type::DISCONNECTED || type == kj::Exception::Type::OVERLOADED;
    if (!passing || tries == CALL_ATTEMPTS) kj::throwFatalException(kj::mv(outcome.error()));
    co_await env.timer().afterDelay((FIRST_PAUSE_MS << tries) * kj::MILLISECONDS);
  }
}

class NodeServices final {
 public:
  NodeServices(Env& env, Host& host, Config::Reader settings);

  // `runtime.<name>`; for an empty name the best that runs here. Fails if there is none.
  Task<kj::String> runtimeFor(kj::StringPtr name);
  // Names of those that run, best first.
  Task<kj::Vector<kj::String>> runtimes();
  Task<kj::Vector<kj::String>> running(kj::StringPtr prefix);

  schema::Runtime::Client runtime(kj::StringPtr service) {
    return host.service<schema::Runtime>(service);
  }
  schema::ImageStore::Client images() {
    return host.service<schema::ImageStore>(settings.getImage());
  }
  schema::NetworkDriver::Client network(kj::StringPtr name) {
    return host.service<schema::NetworkDriver>(kj::str("network.", name));
  }
  // Fails with what is missing if no plugin offers `service` now.
  Task<void> mustRun(kj::StringPtr service);

  // Tells a plugin, once it runs, which tasks there are, so that it lets go of what others left
  // behind. Nothing of it is used before it has answered: networkReady, imagesReady.
  Task<void> retainNetwork(kj::StringPtr name, kj::Array<kj::String> taskIds);
  Task<void> retainImages(kj::Array<kj::String> taskIds);
  kj::Promise<void> networkReady() { return networkRetained.promise.addBranch(); }
  kj::Promise<void> imagesReady() { return imagesRetained.promise.addBranch(); }

  Env& env;
  Host& host;
  Config::Reader settings;

 private:
  struct Gate {
    kj::PromiseFulfillerPair<void> pair = kj::newPromiseAndFulfiller<void>();
    kj::ForkedPromise<void> promise = pair.promise.fork();
  };
  Gate networkRetained;
  Gate imagesRetained;
};

}  // namespace orch::control::agent
