#include "listener.h"

#include <arpa/inet.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::hub {

namespace {

// The IP address of the other end, for the limits.
std::string peerOf(kj::AsyncIoStream& stream) {
  sockaddr_storage storage{};
  kj::uint length = sizeof(storage);
  char text[INET6_ADDRSTRLEN] = "";
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  stream.getpeername(address, &length);
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(storage).sin_addr, text, sizeof(text));
  } else if (address->sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6&>(storage).sin6_addr, text, sizeof(text));
  }
  return text;
}

}  // namespace

Listener::Listener(Env& env, Hub& hub) : env(env), hub(hub) {}

Task<void> Listener::open(std::string address, kj::Maybe<kj::Own<kj::TlsContext>> context) {
  tls = kj::mv(context);
  auto parsed = co_await attempt(env.network().parseAddress(address.c_str()));
  if (!parsed.ok()) {
    fail(kj::str("listen is '", address.c_str(), "'; accepted: an address such as 10.0.0.5:2378"));
  }
  auto opened = attemptNow([&] { return parsed.value()->listen(); });
  if (!opened.ok()) {
    fail(kj::str("cannot listen on '", address.c_str(), "': ", opened.message(),
                 "; set another address as listen"));
  }
  receiver = kj::mv(opened.value());
}

unsigned Listener::port() { return KJ_REQUIRE_NONNULL(receiver)->getPort(); }

Task<void> Listener::run() {
  auto& socket = *KJ_REQUIRE_NONNULL(receiver);
  for (;;) {
    auto accepted = co_await attempt(socket.accept());
    if (!accepted.ok()) {  // no descriptors left: some will be free again
      co_await env.timer().afterDelay(1 * kj::SECONDS);
      continue;
    }
    if (connections >= MAX_CONNECTIONS) continue;
    auto client = attemptNow([&] { return peerOf(*accepted.value()); });
    if (!client.ok()) continue;  // it is gone already
    serving.add(serve(kj::mv(accepted.value()), client.value()));
  }
}

Task<void> Listener::serve(kj::Own<kj::AsyncIoStream> stream, std::string client) {
  ++connections;
  KJ_DEFER(--connections);
  KJ_IF_MAYBE (context, tls) {
    auto shaken = env.timer().timeoutAfter(HANDSHAKE_TIME, (*context)->wrapServer(kj::mv(stream)));
    stream = co_await shaken;
  }
  auto service = newHubService(env, hub, headers, client);
  kj::HttpServerSettings settings;
  settings.errorHandler = *this;
  kj::HttpServer server(env.timer(), headers, *service, settings);
  co_await server.listenHttp(kj::mv(stream));
}

kj::Promise<void> Listener::handleClientProtocolError(kj::HttpHeaders::ProtocolError error,
                                                      kj::HttpService::Response& response) {
  return response.sendError(error.statusCode, error.statusMessage, headers);
}

}  // namespace orch::discovery::hub
