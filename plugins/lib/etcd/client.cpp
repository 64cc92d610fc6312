#include "client.h"

#include "orch/attempt.h"
#include "orch/fail.h"
#include "request.h"

namespace orch::etcd {

namespace {

constexpr kj::Duration FIRST_PAUSE = 20 * kj::MILLISECONDS;
constexpr kj::Duration LAST_PAUSE = 500 * kj::MILLISECONDS;
constexpr int MOST_LOGINS = 3;  // for one call
constexpr size_t READ_BYTES = 64 << 10;

// Codes of gRPC after which no other endpoint would say anything else, and nothing was done:
// INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED,
// DATA_LOSS, UNAUTHENTICATED.
constexpr int FINAL_CODES[] = {3, 5, 7, 9, 11, 12, 15, 16};
constexpr int RESOURCE_EXHAUSTED = 8;

bool isFinal(const Refusal& refusal) {
  for (int code : FINAL_CODES) {
    if (refusal.code == code) return true;
  }
  // Too many requests: that passes. Else a limit of etcd's, in space or in a message's size.
  return refusal.code == RESOURCE_EXHAUSTED &&
         refusal.message.find("too many requests") == std::string::npos;
}

}  // namespace

Task<std::string> LineReader::next() {
  for (;;) {
    auto end = buffer.find('\n', searched);
    if (end != std::string::npos) {
      auto line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      searched = 0;
      if (line.empty()) continue;
      co_return kj::mv(line);
    }
    searched = buffer.size();
    if (searched > MAX_LINE_BYTES) fail(kj::str("answers a message without an end"));
    buffer.resize(searched + READ_BYTES);
    auto got = co_await stream->tryRead(buffer.data() + searched, 1, READ_BYTES);
    buffer.resize(searched + got);
    if (got == 0) kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the watch has ended"));
  }
}

Client::Client(Env& env, const std::vector<http::Endpoint>& endpoints, const http::TlsFiles& files,
               kj::Duration timeout, kj::StringPtr setting)
    : env(env), timeout(timeout), setting(setting) {
  for (auto& endpoint : endpoints)
    members.push_back(kj::heap<http::EndpointClient>(env, endpoint, files));
}

kj::String Client::name() const {
  auto urls = KJ_MAP(member, members) { return kj::str("'", member->endpoint().url.c_str(), "'"); };
  return kj::str("etcd at ", kj::strArray(urls, ", "));
}

kj::String Client::lostReason(const std::string& last) const {
  if (!remedy.empty()) {
    return kj::str(name(), " does not answer: ", last.c_str(), "; ", remedy.c_str());
  }
  return kj::str(name(), " does not answer: ", last.c_str(),
                 "; see that most of its members run, and that '", setting, "' names them");
}

bool Client::isFull(const Refusal& refusal) {
  return refusal.message.find("space exceeded") != std::string::npos;
}

bool Client::isLeaseGone(const Refusal& refusal) {
  return refusal.message.find("lease not found") != std::string::npos;
}

std::string Client::refusalText(const Refusal& refusal) const {
  auto says = [&](const char* words) { return refusal.message.find(words) != std::string::npos; };
  const char* remedy = "";
  if (isFull(refusal)) {
    remedy =
        "; compact and defragment it or raise its --quota-backend-bytes, then 'etcdctl alarm "
        "disarm'";
  } else if (says("too large") || says("larger than max")) {
    remedy = "; lower 'maxBytes', or raise its --max-request-bytes";
  } else if (says("too many operations")) {
    remedy = "; lower 'maxOps', or raise its --max-txn-ops";
  } else if (says("user name is empty") || says("permission denied")) {
    remedy = usersAreKnown
                 ? "; 'user' and 'passwordFile' have to be those of who may read and write there"
                 : "; orch knows no users of etcd's: it needs one without 'auth enable'";
  } else if (says("authentication failed")) {
    remedy = "; see that 'user' is one of its users, and to what is in 'passwordFile'";
  } else if (says("has been compacted")) {
    remedy = "; try again, and let it keep its history for some minutes";
  } else if (says("corrupt")) {
    remedy = "; find the damaged member with 'etcdctl alarm list' and make it anew";
  }
  return std::string(name().cStr()) + " refuses: " + refusal.message + remedy;
}

void Client::logIn(std::string name, std::string secret) {
  usersAreKnown = true;
  user = std::move(name);
  password = std::move(secret);
}

bool Client::wantsLogin(const Refusal& refusal) const {
  auto says = [&](const char* words) { return refusal.message.find(words) != std::string::npos; };
  // Tokens end with the members' processes and after 5 minutes of silence, and with each change of
  // users or roles.
  return !user.empty() &&
         (says("user name is empty") || says("invalid auth token") || says("is old"));
}

Task<bool> Client::enter(size_t member, kj::Duration limit, Reply& reply) {
  std::string path = "/v3/auth/authenticate", body = loginRequest(user, password);
  Reply answer;
  // With a token that it does not know etcd refuses this as well.
  members[member]->setHeader("Authorization", "");
  // A refusal comes with trailers, which KJ does not read: it was the last answer of its
  // connection, and that is seen by the next request.
  for (int i = 0; i < 2 && answer.kind == Reply::Kind::LOST; ++i) {
    auto asking = members[member]->ask(kj::HttpMethod::POST, path, body).promise();
    auto outcome = co_await attempt(env.timer().timeoutAfter(limit, kj::mv(asking)));
    judge(outcome, answer);
  }
  reply.kind = answer.kind;
  reply.refusal = answer.refusal;
  if (!answer.reason.empty()) reply.reason = answer.reason;
  if (answer.kind != Reply::Kind::ANSWERED) co_return false;
  reply.kind = Reply::Kind::LOST;  // what was asked for is still to be answered
  auto token = attemptNow([&] { return readLogin(answer.body); });
  if (!token.ok()) reply.reason = token.message().cStr();
  if (!token.ok()) co_return false;
  for (auto& one : members) one->setHeader("Authorization", token.value());
  co_return true;
}

void Client::leave() {
  members[current]->forget();
  current = (current + 1) % members.size();
}

bool Client::judge(Outcome<http::EndpointClient::Answer>& outcome, Reply& reply) {
  if (!outcome.ok()) {
    auto text = plainText(outcome.error());
    bool late = outcome.error().getType() == kj::Exception::Type::OVERLOADED;
    if (!text.startsWith(http::NOT_CONNECTED)) reply.uncertain = true;
    // The last try ends with the time: what the others said tells more.
    if (!late || reply.reason.empty()) {
      reply.reason =
          late ? "it takes too long" : http::EndpointClient::reasonOf(outcome.error()).cStr();
    }
    return false;
  }
  auto& answer = outcome.value();
  if (answer.status == 200) {
    reply.kind = Reply::Kind::ANSWERED;
    reply.body = kj::mv(answer.text);
    return true;
  }
  auto read = attemptNow([&] { return readRefusal(answer.text); });
  if (read.ok()) reply.refusal = read.value();
  bool known = read.ok() && !reply.refusal.message.empty();
  reply.reason =
      known ? reply.refusal.message : "it answers with the status " + std::to_string(answer.status);
  if (known && isFinal(reply.refusal)) {
    reply.kind = Reply::Kind::REFUSED;
    return true;
  }
  reply.uncertain = true;
  return false;
}

Task<Reply> Client::ask(std::string path, std::string body) {
  auto& timer = env.timer();
  auto deadline = timer.now() + timeout;
  // One that takes everything and says nothing leaves time for the others.
  auto share = timeout / kj::min(members.size(), size_t(3));
  Reply reply;
  reply.reason = absent;
  if (!absent.empty()) co_return kj::mv(reply);
  int logins = 0;  // in this call
  for (auto pause = FIRST_PAUSE;; pause = kj::min(pause * 2, LAST_PAUSE)) {
    for (size_t i = 0; i < members.size(); ++i) {
      auto left = deadline - timer.now();
      if (left <= 0 * kj::SECONDS) break;
      auto asked = current;
      auto posted = timer.timeoutAfter(
          kj::min(left, share), members[asked]->ask(kj::HttpMethod::POST, path, body).promise());
      auto outcome = co_await attempt(kj::mv(posted));
      reply.refusal = Refusal();
      bool judged = judge(outcome, reply);
      bool entered = false;
      // One that has just started forgets the first token as well, once it has read all of its log.
      if (wantsLogin(reply.refusal) && logins < MOST_LOGINS) {
        if (logins > 0) co_await timer.afterDelay(LAST_PAUSE);
        auto limit = kj::max(kj::min(deadline - timer.now(), share), 0 * kj::SECONDS);
        entered = co_await enter(asked, limit, reply);
        judged = reply.kind == Reply::Kind::REFUSED;
        logins += entered;
      }
      if (judged) co_return kj::mv(reply);
      if (entered) continue;  // at the same one
      if (current == asked) leave();
    }
    auto left = deadline - timer.now();
    if (left <= 0 * kj::SECONDS) break;
    co_await timer.afterDelay(kj::min(pause, left));
  }
  reply.reason = lostReason(reply.reason).cStr();
  co_return kj::mv(reply);
}

Task<std::string> Client::demand(std::string path, std::string body) {
  auto reply = co_await ask(kj::mv(path), kj::mv(body));
  if (reply.kind == Reply::Kind::LOST) fail(kj::str(reply.reason.c_str()));
  if (reply.kind == Reply::Kind::REFUSED) {
    fail(kj::str(refusalText(reply.refusal).c_str()));
  }
  co_return kj::mv(reply.body);
}

Task<uint64_t> Client::grant(uint64_t seconds) {
  auto body = co_await demand("/v3/lease/grant", grantRequest(seconds));
  co_return readGrant(body);
}

Task<bool> Client::renew(uint64_t lease) {
  auto body = co_await demand("/v3/lease/keepalive", leaseRequest(lease));
  co_return readKeepAlive(body);
}

Task<void> Client::revoke(uint64_t lease) {
  auto reply = co_await ask("/v3/lease/revoke", leaseRequest(lease));
  if (reply.kind == Reply::Kind::LOST) fail(kj::str(reply.reason.c_str()));
  bool refused = reply.kind == Reply::Kind::REFUSED && !isLeaseGone(reply.refusal);
  if (refused) fail(kj::str(refusalText(reply.refusal).c_str()));
}

Task<kj::Own<LineReader>> Client::watch(std::string body) {
  if (!absent.empty()) fail(kj::str(absent.c_str()));
  std::string path = "/v3/watch";
  auto opening = env.timer().timeoutAfter(timeout, members[current]->stream(path, body).promise());
  auto stream = co_await opening;
  co_return kj::heap<LineReader>(kj::mv(stream));
}

}  // namespace orch::etcd
