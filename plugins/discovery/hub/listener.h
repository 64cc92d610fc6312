// The hub's socket: takes connections, with TLS if there is a certificate, and serves each by
// itself.
#pragma once

#include <kj/compat/http.h>
#include <kj/compat/tls.h>

#include "hub-service.h"

namespace orch::discovery::hub {

class Listener final : private kj::TaskSet::ErrorHandler, private kj::HttpServerErrorHandler {
 public:
  static constexpr size_t MAX_CONNECTIONS = 512;  // past it, a new one is closed at once
  static constexpr auto HANDSHAKE_TIME = 10 * kj::SECONDS;

  // Both outlive it.
  Listener(Env& env, Hub& hub);

  // Listens from the answer on; fails with the address and the reason.
  Task<void> open(std::string address, kj::Maybe<kj::Own<kj::TlsContext>> tls);
  // Until it is cancelled.
  Task<void> run();
  unsigned port();

 private:
  Task<void> serve(kj::Own<kj::AsyncIoStream> stream, std::string client);
  void taskFailed(kj::Exception&&) override {}  // the client's affair
  kj::Promise<void> handleClientProtocolError(kj::HttpHeaders::ProtocolError error,
                                              kj::HttpService::Response& response) override;
  // Without an answer: what went wrong inside is nothing for strangers.
  kj::Promise<void> handleApplicationError(kj::Exception,
                                           kj::Maybe<kj::HttpService::Response&>) override {
    return kj::READY_NOW;
  }

  Env& env;
  Hub& hub;
  kj::HttpHeaderTable headers;
  kj::Maybe<kj::Own<kj::TlsContext>> tls;
  kj::Maybe<kj::Own<kj::ConnectionReceiver>> receiver;
  size_t connections = 0;
  kj::TaskSet serving{*this};
};

}  // namespace orch::discovery::hub
