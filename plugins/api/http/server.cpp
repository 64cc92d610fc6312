#include "server.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::api::http {

namespace {

kj::Exception clientGone() { return KJ_EXCEPTION(DISCONNECTED, "the client has gone"); }

// Looks at what became of serving it, and holds it until then.
Task<void> served(Site& site, kj::Own<Exchange> exchange) {
  auto begun = kj::evalNow([&] { return site.serve(*exchange).promise(); });
  auto outcome = co_await attempt(kj::mv(begun));
  if (exchange->isAnswered()) {
    if (!outcome.ok()) exchange->finish();
    co_return;
  }
  if (outcome.ok()) {
    exchange->answer(refusal(500, "nobody has answered; this is a mistake of api.http"));
  } else {
    exchange->answer(answerOf(outcome.error()));
  }
}

}  // namespace

Answer answerOf(const kj::Exception& error) {
  auto text = plainText(error);
  unsigned status = 500;
  switch (error.getType()) {
    case kj::Exception::Type::FAILED:
      if (text.startsWith("usage: ")) {
        return refusal(400, text.slice(7).cStr());
      }
      if (text.startsWith("no ")) status = 404;  // `no service 'web'`
      break;
    case kj::Exception::Type::OVERLOADED:
    case kj::Exception::Type::DISCONNECTED:
      status = 503;
      break;
    case kj::Exception::Type::UNIMPLEMENTED:
      status = 501;
      break;
  }
  return refusal(status, text.cStr());
}

Exchange::Exchange(Server& server, Request request)
    : request(std::move(request)), server(&server) {}

void Exchange::answer(Answer answer) {
  answered = true;
  if (server == nullptr) return;
  bool large = answer.body.size() > Net::LARGE_BYTES;
  if (large && server->net->figures().bytes + answer.body.size() > Net::MAX_BYTES) {
    answer = refusal(503, "too much is being sent to others; try again later");
  }
  ++server->counts[answer.status];
  server->net->answer(request.id, std::move(answer));
}

kj::Promise<void> Exchange::begin(Answer head) {
  head.more = true;
  return beginInTurn(kj::addRef(*this), std::move(head));
}

Task<void> Exchange::beginInTurn([[maybe_unused]] kj::Own<Exchange> self, Answer head) {
  auto turn = co_await sending.enter();
  if (server == nullptr) kj::throwFatalException(clientGone());
  if (answered) co_return;
  answer(std::move(head));
  auto taken = untilWritten();
  co_await taken;
}

kj::Promise<void> Exchange::send(std::string part) {
  return sendInTurn(kj::addRef(*this), std::move(part));
}

Task<void> Exchange::sendInTurn([[maybe_unused]] kj::Own<Exchange> self, std::string part) {
  auto turn = co_await sending.enter();
  if (server == nullptr) kj::throwFatalException(clientGone());
  server->net->send(request.id, std::move(part), false);
  auto taken = untilWritten();
  co_await taken;
}

void Exchange::finish() {
  if (server != nullptr) server->net->send(request.id, std::string(), true);
}

kj::Promise<void> Exchange::untilWritten() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiting = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

void Exchange::written() {
  KJ_IF_MAYBE (fulfiller, waiting) (*fulfiller)->fulfill();
  waiting = nullptr;
}

void Exchange::leave() {
  server = nullptr;
  KJ_IF_MAYBE (fulfiller, waiting) (*fulfiller)->reject(clientGone());
  waiting = nullptr;
  canceler.cancel(clientGone());
}

Server::Server(Env& env, Site& site, NetSettings settings) : site(site), mailbox(env.eventPort()) {
  Net::Events events;
  events.asked = [this](Request request) {
    mailbox.post([this, request = std::move(request)]() mutable { asked(std::move(request)); });
  };
  events.written = [this](uint64_t id) {
    mailbox.post([this, id] {
      auto found = exchanges.find(id);
      if (found != exchanges.end()) found->second->written();
    });
  };
  events.gone = [this](uint64_t id) {
    mailbox.post([this, id] {
      auto found = exchanges.find(id);
      if (found != exchanges.end()) found->second->leave();
    });
  };
  net = std::make_unique<Net>(std::move(settings), std::move(events));
}

Server::~Server() noexcept(false) {
  mailbox.close();
  net = nullptr;  // its thread has ended; then `tasks` goes
}

void Server::asked(Request request) {
  auto exchange = kj::refcounted<Exchange>(*this, std::move(request));
  auto& kept = *exchange;
  auto id = kept.request.id;
  exchanges[id] = &kept;
  auto serving = served(site, kj::addRef(kept)).promise();
  auto ended = kept.canceler.wrap(kj::mv(serving));
  auto release = [this, id, exchange = kj::mv(exchange)]() mutable {
    exchange->leave();  // others may hold it yet
    exchanges.erase(id);
  };
  tasks.add(ended.attach(kj::defer(kj::mv(release))));
}

}  // namespace orch::api::http
