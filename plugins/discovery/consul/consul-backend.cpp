#include "consul-backend.h"

#include <algorithm>

#include "entry.h"
#include "lib/address.h"
#include "lib/backend-server.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::consul {

namespace {

using orch::consul::Reply;
using orch::consul::TxnRequest;

// consul keeps a question for as long; after that it is asked anew, whoever may have gone silent.
constexpr kj::Duration NODES_WAIT = 15 * kj::SECONDS;
constexpr size_t MOST_DOUBLINGS = 5;
constexpr kj::Duration FIRST_RETRY = 1 * kj::SECONDS;
constexpr kj::Duration LAST_RETRY = 30 * kj::SECONDS;
constexpr int MAX_ENTER_TRIES = 5;

}  // namespace

ConsulBackend::ConsulBackend(Env& env, Place place, orch::consul::ClientSettings settings)
    : env(env), place(std::move(place)), client(env, std::move(settings)) {}

Task<void> ConsulBackend::follow() {
  size_t failures = 0;
  for (;;) {
    auto outcome = co_await attempt(look(index));
    if (outcome.ok()) {
      failures = 0;
      continue;
    }
    index = 0;  // everything is read again
    nothing = false;
    client.leave();
    // The other endpoints may know better.
    if (++failures < place.endpoints.size()) continue;
    watchers->failed(outcome.message());
    auto doublings = std::min<size_t>(failures - place.endpoints.size(), MOST_DOUBLINGS);
    auto pause = kj::min(LAST_RETRY, FIRST_RETRY * (1 << doublings));
    pause = pause * 9 / 10 + pause / 5 * static_cast<int64_t>(env.random() % 1000) / 1000;
    co_await env.timer().afterDelay(pause);
  }
}

// Everything that is there, when it is another one than that of the index `known`.
Task<void> ConsulBackend::look(uint64_t known) {
  auto path = "/v1/kv/" + place.nodes + "?recurse&keys&consistent&index=" + std::to_string(known);
  auto reply = co_await client.block(path, NODES_WAIT);
  bool same = known != 0 && reply.index == known;
  if (same) co_return;
  // Where nothing has ever been, each write elsewhere is told.
  bool still = nothing && reply.status == 404 && reply.index > known;
  if (still) index = reply.index;
  if (still) co_return;
  // Both lists are of one moment, which is that of the index or later.
  TxnRequest txn;
  txn.getTree(place.nodes).getTree(place.details);
  auto answer = co_await client.transact(txn);
  if (answer.results.empty()) {
    // Who may not read gets an empty list; who asks for one key is told.
    TxnRequest asking;
    asking.checkIndex(place.nodes, 1);
    co_await client.transact(asking);
  }
  nothing = answer.results.empty();
  auto read = attemptNow([&] { return readEntries(answer.results, place); });
  // An index that goes back is another consul's, or an older copy.
  index = reply.index < known ? 0 : reply.index;
  if (read.ok()) {
    watchers->present(kj::mv(read.value()));
  } else {
    watchers->failed(kj::str(place.named.c_str(), ": ", read.message()));
  }
}

Task<Reply> ConsulBackend::demand(kj::HttpMethod method, std::string path, std::string body) {
  auto reply = co_await client.ask(method, kj::mv(path), kj::mv(body));
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
  co_return kj::mv(reply);
}

Task<void> ConsulBackend::destroy(std::string id) {
  // If it does not work, the session ends by itself.
  co_await attempt(demand(kj::HttpMethod::PUT, "/v1/session/destroy/" + id, ""));
}

Task<std::string> ConsulBackend::session(std::string address, uint64_t seconds) {
  auto has = sessions[address];
  bool fits = !has.id.empty() && has.seconds == seconds;
  if (fits) {
    auto renewed = co_await demand(kj::HttpMethod::PUT, "/v1/session/renew/" + has.id, "");
    if (renewed.status == 200) co_return kj::mv(has.id);
  }
  auto body = orch::consul::sessionRequest("orch " + address, seconds);
  auto made = co_await demand(kj::HttpMethod::PUT, "/v1/session/create", body);
  if (made.status != 200) fail(kj::str(client.refusal(made.body).c_str()));
  auto id = orch::consul::readSession(made.body);
  sessions[address] = Session{id, seconds};
  co_return kj::mv(id);
}

Task<void> ConsulBackend::put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs) {
  checkEntry(entry, ttlMs);
  return enter(entry.getAddress().cStr(), detailsOf(entry), sessionSeconds(ttlMs));
}

Task<void> ConsulBackend::enter(std::string address, std::string details, uint64_t seconds) {
  auto pass = co_await writing.enter();
  auto before = sessions[address].id;
  auto id = co_await session(address, seconds);
  auto nodeKey = place.nodes + address, detailsKey = place.details + address;
  for (int i = 0; i < MAX_ENTER_TRIES; ++i) {
    TxnRequest looking;
    looking.getTree(nodeKey).getTree(detailsKey);
    auto there = co_await client.transact(looking);
    auto* node = there.of(nodeKey);
    auto* more = there.of(detailsKey);
    bool mine = node != nullptr && more != nullptr && node->session == id && more->session == id &&
                node->value == address && more->value == details;
    if (mine) break;
    // A key of another session is not given away: it is made anew, which wakes whoever watches.
    TxnRequest txn;
    txn.erase(nodeKey).lock(nodeKey, address, id).erase(detailsKey).lock(detailsKey, details, id);
    auto reply = co_await client.ask(txn);
    if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
    auto answer = orch::consul::readTxn(reply.body);
    if (answer.errors.empty()) continue;  // and is looked at once more
    auto& what = answer.errors[0].what;
    bool gone = what.find("invalid session") != std::string::npos;
    if (!gone) fail(kj::str(client.refusal(what).c_str()));
    id = co_await session(address, seconds);
  }
  bool replaced = !before.empty() && before != id;
  if (replaced) co_await destroy(before);
}

Task<void> ConsulBackend::remove(std::string address) {
  if (!isAddress(address)) {
    fail(kj::str("address is '", address.c_str(), "'; accepted: host:port, in lower case"));
  }
  auto pass = co_await writing.enter();
  TxnRequest txn;
  txn.erase(place.nodes + address).erase(place.details + address);
  co_await client.transact(txn);
  auto found = sessions.find(address);
  if (found == sessions.end()) co_return;
  auto id = found->second.id;
  sessions.erase(found);
  if (!id.empty()) co_await destroy(id);
}

schema::Discovery::Client newConsulServer(kj::Own<ConsulBackend> backend) {
  return kj::heap<BackendServer<ConsulBackend>>(kj::mv(backend), "a consul");
}

}  // namespace orch::discovery::consul
