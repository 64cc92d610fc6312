// The few things that may be changed over HTTP, by who has a token for it. README.md has the table.
#pragma once

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/cluster.capnp.h"
#include "server.h"

namespace orch::api::http {

class Changes final {
 public:
  static constexpr size_t MAX_KEY_CHARACTERS = 64;

  // Both outlive it.
  Changes(Env& env, Host& host, kj::Duration patience) : env(env), host(host), patience(patience) {}

  // Whether the path is one of a change: `kind`, `what` of `/v1/KIND/ID/WHAT`.
  static bool isOne(const std::string& kind, const std::string& what);
  // Fails with `usage: ` if what is asked cannot be read. A request with the same Idempotency-Key
  // is done once, and so can be asked again when its answer was lost.
  Task<void> make(Exchange& exchange, std::string id, std::string what);

 private:
  Task<std::string> begin(const Request& request, std::string id, std::string key,
                          std::string what);
  Task<std::string> scale(const Request& request, std::string id, std::string key);
  Task<std::string> rollback(std::string id, std::string key);
  Task<std::string> setAvailability(const Request& request, std::string id, std::string key);
  std::string keyOf(const Request& request);

  Env& env;
  Host& host;
  const kj::Duration patience;
};

}  // namespace orch::api::http
