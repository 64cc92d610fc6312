#include "consul-source.h"

#include <algorithm>

#include "catalog.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::integration::templates {

namespace {

using consul::Reply;

// consul keeps a question for as long; after that it is asked anew, whoever may have gone silent.
constexpr kj::Duration QUESTION_WAIT = 15 * kj::SECONDS;
// The same where others wait for their turn.
constexpr kj::Duration TURN_WAIT = 1 * kj::SECONDS;
// What consul answers at once, whether it has changed or not, is asked again after as long.
constexpr kj::Duration ASK_AGAIN = 15 * kj::SECONDS;
constexpr kj::Duration FIRST_RETRY = 1 * kj::SECONDS;
constexpr kj::Duration LAST_RETRY = 30 * kj::SECONDS;
constexpr size_t MOST_DOUBLINGS = 5;

}  // namespace

class ConsulSource::Borrowed final {
 public:
  Borrowed(ConsulSource& source, Semaphore::Pass pass) : source(source), pass(kj::mv(pass)) {
    if (source.idle.empty()) {
      client = kj::heap<consul::Client>(source.env, source.settings);
    } else {
      client = kj::mv(source.idle.back());
      source.idle.pop_back();
    }
  }
  ~Borrowed() noexcept(false) { source.idle.push_back(kj::mv(client)); }
  KJ_DISALLOW_COPY(Borrowed);
  consul::Client& operator*() { return *client; }

 private:
  ConsulSource& source;
  Semaphore::Pass pass;
  kj::Own<consul::Client> client;
};

bool ConsulSource::knows(const Query& query) const {
  return !settings.endpoints.empty() && query.kind != Query::Kind::FILE;
}

Task<void> ConsulSource::follow(Query query, Listener& listener) {
  ++followed;
  KJ_DEFER(--followed);
  Place place;
  size_t failures = 0;
  for (;;) {
    auto outcome = co_await attempt(look(query, place, listener));
    if (outcome.ok()) {
      failures = 0;
      continue;
    }
    place.index = 0;
    if (++failures < settings.endpoints.size()) continue;
    listener.failed(outcome.message());
    auto doublings = std::min(failures - settings.endpoints.size(), MOST_DOUBLINGS);
    auto pause = kj::min(LAST_RETRY, FIRST_RETRY * (1 << doublings));
    pause = pause * 9 / 10 + pause / 5 * static_cast<int64_t>(env.random() % 1000) / 1000;
    co_await env.timer().afterDelay(pause);
  }
}

Task<std::string> ConsulSource::agentNode(consul::Client& client) {
  auto reply = co_await client.ask(kj::HttpMethod::GET, "/v1/agent/self", "");
  bool good = reply.kind == Reply::Kind::ANSWERED && reply.status == 200;
  if (!good) fail(kj::str(reply.reason.c_str()));
  co_return readAgentNode(reply.body);
}

Task<Reply> ConsulSource::ask(const Query& query, Place& place) {
  auto pass = co_await places.enter();
  Borrowed client(*this, kj::mv(pass));
  if (place.path.empty()) {
    Query named = query;
    bool own = query.kind == Query::Kind::NODE && query.name.empty();
    if (own) named.name = co_await agentNode(*client);
    place.path = consulPath(named);
  }
  auto path = place.path;
  if (place.index > 0) {
    path += path.find('?') == std::string::npos ? "?index=" : "&index=";
    path += std::to_string(place.index);
  }
  auto wait = followed > MAX_KEPT ? TURN_WAIT : QUESTION_WAIT;
  auto reply = co_await attempt((*client).block(path, wait));
  if (!reply.ok()) (*client).leave();
  if (!reply.ok()) kj::throwFatalException(kj::mv(reply.error()));
  co_return kj::mv(reply.value());
}

Task<void> ConsulSource::look(const Query& query, Place& place, Listener& listener) {
  auto reply = co_await ask(query, place);
  if (reply.body.size() > MAX_ANSWER_BYTES) fail(kj::str("consul answers with more than 16 MiB"));
  bool found = reply.status == 200;
  auto bytes = kj::arrayPtr(reply.body.data(), reply.body.size()).asBytes();
  auto sum = checksumOf(bytes);
  bool same = place.index > 0 && found == place.found && sum == place.sum;
  // An index that goes back is another consul's, or an older copy.
  place.index = reply.index < place.index ? 0 : reply.index;
  place.found = found;
  place.sum = sum;
  if (!same) {
    // Named: g++ 12 destroys twice what a temporary closure in a co_await holds.
    auto read = [query, body = kj::mv(reply.body), found] {
      return readAnswer(query, body, found);
    };
    auto answer = co_await attempt(env.workers().run(kj::mv(read)));
    if (!answer.ok()) fail(kj::str("consul ", answer.message()));
    listener.answered(kj::mv(answer.value()));
  }
  if (reply.index == 0) co_await env.timer().afterDelay(ASK_AGAIN);
}

}  // namespace orch::integration::templates
