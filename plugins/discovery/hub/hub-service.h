// What a hub answers over HTTP: classic Swarm's token protocol, and what orch adds to it.
//
//   POST   /v1/clusters                    a new cluster; the body of the answer is its token
//   POST   /v1/clusters/TOKEN?ttl=SECONDS  registers the address in the body (default 180, 1 to
//   86,400);
//                                          orch adds &role=, &digest= and &node=
//   GET    /v1/clusters/TOKEN              a JSON array of addresses; with ?details=1 of objects
//   DELETE /v1/clusters/TOKEN              takes away the address in the body
//
// 200 done · 400 cannot be read · 404 no such cluster or path · 405 · 413 too long · 429 too often
// · 507 full, or the disk is.
#pragma once

#include <kj/compat/http.h>
#include <kj/compat/url.h>

#include "cluster-table.h"
#include "config.capnp.h"
#include "orch/env.h"
#include "orch/rate-table.h"
#include "orch/semaphore.h"
#include "orch/task.h"

namespace orch::discovery::hub {

class Hub final {
 public:
  static constexpr uint64_t MAX_BODY_BYTES = 512;
  static constexpr auto REQUEST_TIME = 30 * kj::SECONDS;

  // `env` outlives it. `folder` keeps the tokens.
  Hub(Env& env, Config::Reader settings, std::string folder);

  // What the last run knew. Once, before anything else.
  Task<void> recover();

  struct Reply {
    explicit Reply(unsigned status = 200, std::string text = "") : status(status), text(text) {}
    unsigned status;
    std::string text;
    bool json = false;
  };
  // `client` is the address that asks.
  Task<Reply> answer(kj::HttpMethod method, std::string url, std::string body, std::string client);

 private:
  Task<Reply> create(std::string client);
  Reply put(const std::string& token, const std::string& body, const kj::Url& url);
  Reply remove(const std::string& token, const std::string& body);
  Reply list(const std::string& token, const kj::Url& url);
  int64_t nowMs();

  Env& env;
  std::string folder;
  ClusterTable table;
  RateTable requests;
  RateTable creates;
  Semaphore writing{1};
};

// One connection's service. `hub` outlives it.
kj::Own<kj::HttpService> newHubService(Env& env, Hub& hub, const kj::HttpHeaderTable& headers,
                                       std::string client);

}  // namespace orch::discovery::hub
