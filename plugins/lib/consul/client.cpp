#include "consul/client.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::consul {

namespace {

constexpr kj::Duration FIRST_PAUSE = 20 * kj::MILLISECONDS;
constexpr kj::Duration LAST_PAUSE = 500 * kj::MILLISECONDS;
// What consul says may be a page of HTML of whoever else listens there.
constexpr size_t MAX_SAID_BYTES = 300;
// Where consul keeps a question for `wait`, it adds up to a sixteenth.
constexpr int WAIT_SPREAD = 16;
constexpr kj::Duration BLOCK_GRACE = 5 * kj::SECONDS;

enum : unsigned {
  OK = 200,
  BAD_REQUEST = 400,
  FORBIDDEN = 403,
  NOT_FOUND = 404,
  WRONG_METHOD = 405,
  CONFLICT = 409,
  TOO_LARGE = 413,
  TOO_MANY = 429,
};

std::string firstLine(const std::string& text) {
  return text.substr(0, std::min(text.find_first_of("\r\n"), MAX_SAID_BYTES));
}

std::string readToken(kj::Filesystem& files, const std::string& path) {
  auto read = attemptNow([&] {
    return files.getRoot().openFile(kj::Path(nullptr).evalNative(path.c_str()))->readAllText();
  });
  if (!read.ok()) fail(kj::str("tokenFile: cannot read '", path.c_str(), "'"));
  std::string text = read.value().cStr();
  text = text.substr(0, text.find_first_of("\r\n"));
  for (char c : text) {
    if (c <= ' ' || c >= 127) {
      fail(kj::str("tokenFile: the first line of '", path.c_str(), "' is no token"));
    }
  }
  return text;
}

}  // namespace

Client::Client(Env& env, ClientSettings settings)
    : env(env), tokenFile(settings.tokenFile), timeout(settings.timeout) {
  for (auto& endpoint : settings.endpoints) {
    members.push_back(kj::heap<http::EndpointClient>(env, endpoint, settings.tls));
    members.back()->want("X-Consul-Index");
  }
}

kj::String Client::name() const {
  auto urls = KJ_MAP(member, members) { return kj::str("'", member->endpoint().url.c_str(), "'"); };
  return kj::str("consul at ", kj::strArray(urls, ", "));
}

kj::String Client::lostReason(const std::string& last) const {
  return kj::str(name(), " does not answer: ", last.c_str(),
                 "; see that it runs, that most of its servers do, and that this is its address");
}

std::string Client::refusalText(unsigned status, const std::string& says) const {
  auto has = [&](const char* words) { return says.find(words) != std::string::npos; };
  const char* remedy = "";
  if (has("too many operations")) {
    remedy = "; lower 'maxOps'";
  } else if (status == TOO_LARGE || has("too large")) {
    remedy = "; lower 'maxBytes', or raise its limits.txn_max_req_len";
  } else if (has("ACL not found")) {
    remedy = "; see that 'tokenFile' names a file with a token of this consul";
  } else if (has("Permission denied")) {
    remedy = "; 'tokenFile' has to name a file with a token whose policy lets it write there";
  }
  return std::string(name().cStr()) + " refuses: " + firstLine(says) + remedy;
}

void Client::leave() {
  members[current]->forget();
  current = (current + 1) % members.size();
}

void Client::judgeAnswer(http::EndpointClient::Answer& answer, Reply& reply) {
  reply.status = answer.status;
  switch (answer.status) {
    case OK:
    case NOT_FOUND:
    case CONFLICT: {
      auto index = attemptNow(
          [&] { return answer.header.empty() ? uint64_t(0) : readIndex(answer.header); });
      reply.index = index.ok() ? index.value() : 0;
      reply.kind = Reply::Kind::ANSWERED;
      reply.body = kj::mv(answer.text);
      return;
    }
    case BAD_REQUEST:
    case FORBIDDEN:
    case WRONG_METHOD:
    case TOO_LARGE:
      reply.kind = Reply::Kind::REFUSED;
      reply.reason = refusalText(answer.status, answer.text);
      return;
    default:
      reply.reason = answer.text.empty()
                         ? "it answers with the status " + std::to_string(answer.status)
                         : firstLine(answer.text);
  }
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
  judgeAnswer(outcome.value(), reply);
  if (reply.kind != Reply::Kind::LOST) return true;
  // No leader, or one that was lost under way.
  if (reply.status != TOO_MANY) reply.uncertain = true;
  return false;
}

Task<bool> Client::tokenChanged() {
  if (tokenFile.empty()) co_return false;
  auto reading = env.workers().run(
      [&files = env.files(), path = tokenFile] { return readToken(files, path); });
  auto text = co_await reading;
  bool changed = text != token;
  token = text;
  tokenRead = true;
  for (auto& member : members) member->setHeader("X-Consul-Token", token);
  co_return changed;
}

Task<bool> Client::prepare() {
  if (tokenRead) co_return false;
  co_return co_await tokenChanged();
}

Task<Reply> Client::ask(kj::HttpMethod method, std::string path, std::string body) {
  auto& timer = env.timer();
  auto deadline = timer.now() + timeout;
  // One that takes everything and says nothing leaves time for the others.
  auto share = timeout / kj::min(members.size(), size_t(3));
  bool mayReread = true;
  Reply reply;
  for (auto pause = FIRST_PAUSE;; pause = kj::min(pause * 2, LAST_PAUSE)) {
    for (size_t i = 0; i < members.size(); ++i) {
      auto ready = co_await attempt(prepare());
      if (!ready.ok()) {
        reply.reason = ready.message().cStr();
        break;
      }
      auto left = deadline - timer.now();
      if (left <= 0 * kj::SECONDS) break;
      auto asked = current;
      auto sent = timer.timeoutAfter(kj::min(left, share),
                                     members[asked]->ask(method, path, body).promise());
      auto outcome = co_await attempt(kj::mv(sent));
      bool forbidden = outcome.ok() && outcome.value().status == FORBIDDEN;
      if (forbidden && mayReread) {
        mayReread = false;
        auto changed = co_await attempt(tokenChanged());
        if (changed.ok() && changed.value()) --i;
        if (changed.ok() && changed.value()) continue;
      }
      if (judge(outcome, reply)) co_return kj::mv(reply);
      if (current == asked) leave();
    }
    auto left = deadline - timer.now();
    if (left <= 0 * kj::SECONDS) break;
    co_await timer.afterDelay(kj::min(pause, left));
  }
  reply.reason = lostReason(reply.reason).cStr();
  co_return kj::mv(reply);
}

Task<Reply> Client::ask(const TxnRequest& txn) {
  // Reads are of the servers' common state, as writes are.
  return ask(kj::HttpMethod::PUT, txn.writes() ? "/v1/txn" : "/v1/txn?consistent", txn.text());
}

Task<TxnAnswer> Client::transact(const TxnRequest& txn) {
  auto reply = co_await ask(txn);
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
  auto parsing = env.workers().run([text = kj::mv(reply.body)] { return readTxn(text); });
  auto answer = co_await parsing;
  for (auto& error : answer.errors) {
    if (!error.isCondition()) fail(kj::str(refusal(error.what).c_str()));
  }
  co_return kj::mv(answer);
}

Task<Reply> Client::block(std::string path, kj::Duration wait) {
  auto ready = co_await attempt(prepare());
  if (!ready.ok()) fail(kj::str(ready.message()));
  path += (path.find('?') == std::string::npos ? "?wait=" : "&wait=") +
          std::to_string(wait / kj::SECONDS) + "s";
  auto limit = wait + wait / WAIT_SPREAD + BLOCK_GRACE;
  std::string nothing;
  auto sent = env.timer().timeoutAfter(
      limit, members[current]->ask(kj::HttpMethod::GET, path, nothing).promise());
  auto outcome = co_await attempt(kj::mv(sent));
  Reply reply;
  if (!judge(outcome, reply)) reply.reason = lostReason(reply.reason).cStr();
  if (reply.status == FORBIDDEN) co_await attempt(tokenChanged());
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
  co_return kj::mv(reply);
}

}  // namespace orch::consul
