// The client of a hub over HTTP or HTTPS: classic Swarm's protocol, and what orch's own hub adds.
#pragma once

#include <kj/compat/http.h>
#include <kj/compat/tls.h>

#include <string>

#include "orch/env.h"
#include "orch/task.h"

namespace orch::discovery::token {

// On the loop's thread. All that goes wrong is an error that names the hub.
class HubClient final {
 public:
  static constexpr uint64_t MAX_ANSWER_BYTES = 8 << 20;

  // `env` outlives it. `caFile` is read when the first hub is asked over HTTPS.
  HubClient(Env& env, std::string caFile, kj::Duration timeout);

  // The text of an answer with status 200. `url` is http:// or https://.
  Task<std::string> ask(kj::HttpMethod method, std::string url, std::string body);

 private:
  struct Reply {
    unsigned status = 0;
    std::string text;
  };
  Task<Reply> send(kj::HttpMethod method, std::string url, std::string body);
  Task<void> prepareTls();
  // Plain functions: g++ 12 fails on macros with statements in a coroutine.
  void useTls(kj::Maybe<kj::String> pem);
  kj::HttpClient::Request open(kj::HttpMethod method, const std::string& url, uint64_t bodyBytes);

  Env& env;
  std::string caFile;
  kj::Duration timeout;
  kj::HttpHeaderTable table;
  kj::Maybe<kj::Own<kj::TlsContext>> tls;
  kj::Maybe<kj::Own<kj::Network>> tlsNetwork;
  kj::Own<kj::HttpClient> plain;  // both after what they refer to
  kj::Maybe<kj::Own<kj::HttpClient>> secure;
};

}  // namespace orch::discovery::token
