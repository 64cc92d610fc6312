// Asks etcd's members in turn. What is asked has to be safe to ask twice: nobody knows what became
// of a request whose answer did not come.
#pragma once

#include <string>
#include <vector>

#include "answer.h"
#include "http/endpoint.h"
#include "orch/attempt.h"

namespace orch::etcd {

// Lines of a stream.
class LineReader final {
 public:
  static constexpr size_t MAX_LINE_BYTES = 256 << 20;
  explicit LineReader(kj::Own<kj::AsyncInputStream> stream) : stream(kj::mv(stream)) {}
  // The next one that is not empty. Fails with DISCONNECTED at the end.
  Task<std::string> next();

 private:
  kj::Own<kj::AsyncInputStream> stream;
  std::string buffer;
  size_t searched = 0;
};

struct Reply {
  enum class Kind {
    ANSWERED,  // `body`
    REFUSED,   // by etcd, for good: `refusal`
    LOST,      // nobody answered in time: `reason`
  };
  Kind kind = Kind::LOST;
  // A try before the last one went out, and nobody knows what became of it.
  bool uncertain = false;
  std::string body;
  Refusal refusal;
  std::string reason;  // a sentence that names the endpoints
};

class Client final {
 public:
  // `env` outlives it. At least one endpoint; `setting` is what a user calls them.
  Client(Env& env, const std::vector<http::Endpoint>& endpoints, const http::TlsFiles& files,
         kj::Duration timeout, kj::StringPtr setting = "endpoints"_kj);

  // Who this is to an etcd with users, from now on; an empty one is nobody.
  void logIn(std::string user, std::string password);

  // What a user is told to see to when nobody answers, in place of a word on the endpoints.
  void setRemedy(std::string text) { remedy = std::move(text); }
  // There is nobody to ask: from now on everything is answered by this reason at once. Empty: there
  // is.
  void setAbsent(std::string why) { absent = std::move(why); }

  // Never fails. Tries all endpoints, again and again, until the time is over.
  Task<Reply> ask(std::string path, std::string body);
  // The same, but fails unless it is answered.
  Task<std::string> demand(std::string path, std::string body);
  // A lease that its keys end with, unless it is renewed in time. One that nobody knows of, after a
  // lost answer, ends by itself.
  Task<uint64_t> grant(uint64_t seconds);
  // Whether it is there still.
  Task<bool> renew(uint64_t lease);
  // With its keys. One that is gone is no error.
  Task<void> revoke(uint64_t lease);
  // Once, at the endpoint that answered last.
  Task<kj::Own<LineReader>> watch(std::string body);
  // Asks another one next: this one has fallen silent.
  void leave();

  // How many endpoints it asks in turn.
  size_t size() const { return members.size(); }
  // `etcd at 'http://…', 'http://…'`.
  kj::String name() const;
  // Out of space. etcd says this of a transaction as well that it applies with the last of its
  // space.
  static bool isFull(const Refusal& refusal);
  // What was asked for names a lease that is gone.
  static bool isLeaseGone(const Refusal& refusal);
  // A sentence that says what to do.
  std::string refusalText(const Refusal& refusal) const;

 private:
  // Nothing if the next endpoint has to be asked.
  bool judge(Outcome<http::EndpointClient::Answer>& outcome, Reply& reply);
  // Whether the answer was that somebody has to log in, for the first time or once more.
  bool wantsLogin(const Refusal& refusal) const;
  // At this member. False if `reply` says why not.
  Task<bool> enter(size_t member, kj::Duration limit, Reply& reply);
  kj::String lostReason(const std::string& last) const;

  Env& env;
  kj::Duration timeout;
  kj::StringPtr setting;
  std::vector<kj::Own<http::EndpointClient>> members;
  size_t current = 0;
  bool usersAreKnown = false;
  std::string user, password;
  std::string remedy, absent;
};

}  // namespace orch::etcd
