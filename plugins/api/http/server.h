// Requests on the loop: each is served by a task of its own, which ends when its client goes.
#pragma once

#include <kj/async.h>
#include <kj/refcount.h>

#include <map>

#include "net.h"
#include "orch/env.h"
#include "orch/mailbox.h"
#include "orch/semaphore.h"
#include "orch/task.h"

namespace orch::api::http {

class Server;

// One request. Whoever serves it answers it as a whole, or begins and sends parts. What is done
// after its client has gone is dropped, and whoever sends fails with DISCONNECTED.
class Exchange final : public kj::Refcounted {
 public:
  Exchange(Server& server, Request request);

  const Request request;
  bool isAnswered() const { return answered; }
  void answer(Answer answer);
  // The head of an answer of many parts, once: again it does nothing. Settles when the client has
  // it.
  kj::Promise<void> begin(Answer head);
  // The next part, which has at least one byte; in the order of the calls. Settles when the client
  // has taken it, so that a slow one holds up who sends.
  kj::Promise<void> send(std::string part);
  // After all parts.
  void finish();

 private:
  friend class Server;
  Task<void> beginInTurn(kj::Own<Exchange> self, Answer head);
  Task<void> sendInTurn(kj::Own<Exchange> self, std::string part);
  kj::Promise<void> untilWritten();
  void written();
  void leave();

  Server* server;  // null: the client has gone
  bool answered = false;
  Semaphore sending{1};
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  kj::Canceler canceler;
};

// Whatever answers.
class Site {
 public:
  virtual ~Site() noexcept(false) {}
  // `exchange` outlives the task. One that fails is answered with its error, if it was not yet.
  virtual Task<void> serve(Exchange& exchange) = 0;
};

// The answer that an error is.
Answer answerOf(const kj::Exception& error);

class Server final : private kj::TaskSet::ErrorHandler {
 public:
  // Listens from now on, or fails. All outlive it.
  Server(Env& env, Site& site, NetSettings settings);
  ~Server() noexcept(false);
  KJ_DISALLOW_COPY(Server);

  unsigned port() const { return net->port(); }
  const NetFigures& figures() const { return net->figures(); }
  // Answers by status.
  const std::map<unsigned, uint64_t>& answers() const { return counts; }
  // Requests that are being served.
  size_t open() const { return exchanges.size(); }

 private:
  friend class Exchange;
  void asked(Request request);
  void taskFailed(kj::Exception&&) override {}  // the client's affair

  Site& site;
  Mailbox mailbox;
  std::map<uint64_t, Exchange*> exchanges;
  std::map<unsigned, uint64_t> counts;
  kj::TaskSet tasks{*this};
  std::unique_ptr<Net> net;
};

}  // namespace orch::api::http
