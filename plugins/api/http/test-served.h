// A server over real sockets, with a site that says what it was asked.
#pragma once

#include <string>

#include "orch/fail.h"
#include "orch/testing/held-time.h"
#include "server.h"
#include "test-client.h"

namespace orch::api::http {

class EchoSite final : public Site {
 public:
  Task<void> serve(Exchange& exchange) override {
    auto& path = exchange.request.path;
    if (path == "/wait") return wait(exchange);
    if (path == "/parts") return parts(exchange);
    if (path == "/fail") fail(kj::str("no service 'web'"));
    if (path == "/usage") fail(kj::str("usage: the state must be another one"));
    if (path == "/busy") {
      kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "no answer within 5 ms"));
    }
    Answer answer;
    answer.type = "text/plain";
    answer.body = path == "/large" ? std::string(large, 'x') : path;
    exchange.answer(std::move(answer));
    return Task<void>(kj::READY_NOW);
  }
  Task<void> wait(Exchange& exchange) {
    ++waiting;
    KJ_DEFER(--waiting);
    co_await kj::Promise<void>(kj::NEVER_DONE);
    exchange.finish();
  }
  Task<void> parts(Exchange& exchange) {
    ++waiting;
    KJ_DEFER(--waiting);
    Answer head;
    co_await exchange.begin(head);
    for (int i = 0; i < most; ++i) co_await exchange.send("part " + std::to_string(i) + "\n");
    exchange.finish();
  }
  int waiting = 0;
  int most = 3;
  size_t large = 3 << 20;
};

struct Served {
  explicit Served(kj::Function<void(NetSettings&)> change = [](NetSettings&) {}) {
    NetSettings settings;
    settings.listen = "127.0.0.1:0";
    change(settings);
    server.emplace(*env, site, std::move(settings));
  }
  unsigned port() { return KJ_ASSERT_NONNULL(server).port(); }
  const NetFigures& figures() { return KJ_ASSERT_NONNULL(server).figures(); }
  TestClient client() { return TestClient(*env, io.waitScope, port()); }
  // All of the answer to bytes on a connection of their own, which end it.
  std::string ask(const std::string& bytes) { return client().send(bytes).read(); }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, io.waitScope, what, kj::mv(reached));
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  EchoSite site;
  kj::Maybe<Server> server;
};

}  // namespace orch::api::http
