// Asks consul's agents or servers in turn. What is asked has to be safe to ask twice: nobody knows
// what became of a request whose answer did not come.
#pragma once

#include <string>
#include <vector>

#include "consul/answer.h"
#include "consul/request.h"
#include "http/endpoint.h"
#include "orch/attempt.h"

namespace orch::consul {

struct Reply {
  enum class Kind {
    ANSWERED,  // `status` and `body`
    REFUSED,   // by consul, for good: `reason`; nothing was done
    LOST,      // nobody answered in time: `reason`
  };
  Kind kind = Kind::LOST;
  // A try before the last one went out, and nobody knows what became of it.
  bool uncertain = false;
  unsigned status = 0;  // 200; 404: no such key or session; 409: the transaction does not hold
  std::string body;
  uint64_t index = 0;  // X-Consul-Index, of a question for keys
  std::string reason;  // a sentence that names the endpoints
};

struct ClientSettings {
  std::vector<http::Endpoint> endpoints;  // at least one
  http::TlsFiles tls;
  std::string tokenFile;  // whose first line is the ACL token; empty: none
  kj::Duration timeout = 5 * kj::SECONDS;
};

class Client final {
 public:
  // `env` outlives it.
  Client(Env& env, ClientSettings settings);

  // Never fails. Tries all endpoints, again and again, until the time is over.
  Task<Reply> ask(kj::HttpMethod method, std::string path, std::string body);
  Task<Reply> ask(const TxnRequest& txn);
  // The same, but fails unless it is answered; with 200 or 409.
  Task<TxnAnswer> transact(const TxnRequest& txn);
  // A question that consul keeps for up to `wait` until something has changed (whole seconds).
  // Once, at the endpoint that answered last. Fails unless the status is 200 or 404.
  Task<Reply> block(std::string path, kj::Duration wait);
  // Asks another one next: this one has failed.
  void leave();

  // `consul at 'http://…', 'http://…'`.
  kj::String name() const;
  // A sentence that says what to do, for what consul says of an operation that it refuses.
  std::string refusal(const std::string& says) const { return refusalText(0, says); }

 private:
  // False if the next endpoint has to be asked.
  bool judge(Outcome<http::EndpointClient::Answer>& outcome, Reply& reply);
  void judgeAnswer(http::EndpointClient::Answer& answer, Reply& reply);
  std::string refusalText(unsigned status, const std::string& says) const;
  kj::String lostReason(const std::string& last) const;
  Task<bool> tokenChanged();
  Task<bool> prepare();

  Env& env;
  const std::string tokenFile;
  const kj::Duration timeout;
  std::string token;
  bool tokenRead = false;
  std::vector<kj::Own<http::EndpointClient>> members;
  size_t current = 0;
};

}  // namespace orch::consul
