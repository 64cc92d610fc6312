#include "token-backend.h"

#include "answer.h"
#include "lib/address.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::token {

namespace {

class TokenServer final : public schema::Discovery::Server {
 public:
  explicit TokenServer(kj::Own<TokenBackend> backend) : backend(kj::mv(backend)) {}

  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    return backend->watch(context.getParams().getSink()).promise().attach(thisCap());
  }
  kj::Promise<void> register_(RegisterContext context) override {
    auto params = context.getParams();
    return backend->put(params.getEntry(), params.getTtlMs());
  }
  kj::Promise<void> unregister(UnregisterContext context) override {
    return backend->remove(context.getParams().getAddress().cStr());
  }
  kj::Promise<void> create(CreateContext context) override { return doCreate(context); }

 private:
  Task<void> doCreate(CreateContext context) {
    auto uri = co_await backend->create(context.getParams().getHub().cStr());
    context.getResults().setUri(uri);
  }
  kj::Own<TokenBackend> backend;
};

}  // namespace

TokenBackend::TokenBackend(Env& env, HubUri hub, std::string caFile, kj::Duration poll,
                           kj::Duration timeout)
    : env(env), hub(std::move(hub)), interval(poll), client(env, std::move(caFile), timeout) {}

void TokenBackend::requireToken() const {
  if (hub.token.empty()) {
    failUnimplemented(kj::str("there is no token in its uri; 'orch discovery create' makes one"));
  }
}

Task<void> TokenBackend::watch(schema::DiscoverySink::Client sink) {
  requireToken();
  return watchers->watch(kj::mv(sink));
}

Task<void> TokenBackend::poll() {
  uint32_t failures = 0;
  while (!hub.token.empty()) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    askNow = kj::mv(pair.fulfiller);  // what is registered from here on is asked for again
    auto text = co_await attempt(client.ask(kj::HttpMethod::GET, hub.cluster() + "?details=1", ""));
    auto read = attemptNow([&] {
      if (!text.ok()) fail(kj::str(text.message()));
      auto answer = attemptNow([&] { return readAnswer(text.value().c_str()); });
      if (!answer.ok()) fail(kj::str("the hub of '", hub.named.c_str(), "' ", answer.message()));
      return kj::mv(answer.value());
    });
    if (read.ok()) {
      failures = 0;
      watchers->present(kj::mv(read.value()));
    } else {
      failures = std::min(failures + 1, 13u);
      watchers->failed(read.message());
    }
    auto wait = failures == 0 ? interval : kj::min(interval, (1 << (failures - 1)) * kj::SECONDS);
    wait = wait * 9 / 10 + wait / 5 * static_cast<int64_t>(env.random() % 1000) / 1000;
    auto due = env.timer().afterDelay(wait).exclusiveJoin(kj::mv(pair.promise));
    co_await due;
  }
}

Task<void> TokenBackend::put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs) {
  requireToken();
  checkEntry(entry, ttlMs);
  return change(kj::HttpMethod::POST, registrationQuery(entry, ttlMs), entry.getAddress().cStr());
}

Task<void> TokenBackend::remove(std::string address) {
  requireToken();
  if (!isAddress(address)) {
    fail(kj::str("address is '", address.c_str(), "'; accepted: host:port, in lower case"));
  }
  return change(kj::HttpMethod::DELETE, "", address);
}

Task<void> TokenBackend::change(kj::HttpMethod method, std::string query, std::string address) {
  co_await client.ask(method, hub.cluster() + query, address);
  if (askNow.get() != nullptr) askNow->fulfill();
}

Task<kj::String> TokenBackend::create(std::string at) {
  auto parsed = attemptNow([&] { return parseHub(at); });
  if (!parsed.ok()) fail(kj::str("usage: ", parsed.message()));
  auto place = parsed.value();
  auto text = co_await client.ask(kj::HttpMethod::POST, place.base + "/clusters", "");
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  if (!isToken(text)) fail(kj::str("'", at.c_str(), "' is no hub: what it answers is no token"));
  co_return kj::str(place.named.c_str(), "/", text.c_str());
}

schema::Discovery::Client newTokenServer(kj::Own<TokenBackend> backend) {
  return kj::heap<TokenServer>(kj::mv(backend));
}

}  // namespace orch::discovery::token
