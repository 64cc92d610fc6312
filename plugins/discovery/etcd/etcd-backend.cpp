#include "etcd-backend.h"

#include <algorithm>

#include "etcd/request.h"
#include "lib/address.h"
#include "lib/backend-server.h"
#include "lib/entry.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::etcd {

namespace {

using orch::etcd::Reply;
using orch::etcd::TxnRequest;

constexpr kj::Duration FIRST_PAUSE = 100 * kj::MILLISECONDS;
constexpr kj::Duration LAST_PAUSE = 30 * kj::SECONDS;
// A member that has lost the others accepts a watch and is silent for ever, and so is one whose
// host is gone: the rest are asked as often whether there is anything to tell.
constexpr kj::Duration SILENCE_CHECK = 15 * kj::SECONDS;
// A lease can end between its renewal and its use.
constexpr int MAX_TRIES = 5;
// Entries that one node registers.
constexpr size_t MAX_OWN = 1000;

std::vector<http::Endpoint> endpointsOf(const KeyPlace& place) {
  std::vector<http::Endpoint> endpoints;
  for (auto& url : place.urls()) endpoints.push_back(http::Endpoint::parse(url));
  return endpoints;
}

}  // namespace

EtcdBackend::EtcdBackend(Env& env, KeyPlace place, const http::TlsFiles& tls, kj::Duration timeout)
    : env(env),
      place(std::move(place)),
      client(env, endpointsOf(this->place), tls, timeout, "uri") {}

Task<void> EtcdBackend::pause(kj::Duration about) {
  auto exactly = about * 9 / 10 + about / 5 * static_cast<int64_t>(env.random() % 1000) / 1000;
  co_await env.timer().afterDelay(exactly);
}

// What has changed while there was no watch is read, whatever is left of the history: it may be
// compacted, or be another one, of an etcd that was brought back from a copy.
Task<void> EtcdBackend::follow() {
  auto next = FIRST_PAUSE;
  for (size_t unheard = 0;;) {
    heard = false;
    auto looked = co_await attempt(look());
    kj::String reason;
    if (looked.ok()) {
      auto watching = lookAtChanges(looked.value()).promise().exclusiveJoin(noticeSilence());
      auto watched = co_await attempt(kj::mv(watching));
      if (watched.ok()) continue;
      reason = kj::str(client.name(), " does not let itself be watched: ",
                       http::EndpointClient::reasonOf(watched.error()));
    } else {
      reason = kj::str(looked.message());
    }
    client.leave();
    // A watch that has worked ends with its member. Whether another one answers is seen at once.
    if (heard) next = FIRST_PAUSE;
    unheard = heard ? 0 : unheard + 1;
    // The next member may do what this one does not; and one that ends just then is no refusal.
    bool all = !looked.ok() || unheard > client.size();
    if (!heard && all) watchers->failed(reason);
    co_await pause(next);
    next = kj::min(next * 2, LAST_PAUSE);
  }
}

EtcdBackend::Mark EtcdBackend::markOf(const orch::etcd::RangeAnswer& answer) {
  Mark mark;
  mark.count = answer.count;
  for (auto& kv : answer.kvs) mark.newest = std::max(mark.newest, kv.modRevision);
  return mark;
}

Task<uint64_t> EtcdBackend::look() {
  TxnRequest txn;
  auto within = [&](const std::string& folder) {
    txn.thenRange(folder, orch::etcd::endOf(folder), MAX_ENTRIES + 1);
  };
  within(place.nodes);
  within(place.details);
  auto body = co_await client.demand("/v3/kv/txn", txn.text());
  uint64_t revision = 0;
  auto read = attemptNow([&] {
    auto answer = orch::etcd::readTxn(body);
    revision = answer.header.revision;
    answer.at(1);  // fails unless both are there
    seen = markOf(answer.ranges[0]);
    std::map<std::string, std::string> keys;
    for (auto& range : answer.ranges) {
      for (auto& kv : range.kvs) keys[kv.key] = kv.value;
    }
    return answerOfKeys(keys, place.nodes, place.details);
  });
  if (read.ok()) {
    watchers->present(kj::mv(read.value()));
    co_return revision;
  }
  auto reason = kj::str(client.name(), ": ", read.message());
  if (revision == 0) fail(kj::mv(reason));
  watchers->failed(reason);
  co_return revision;
}

Task<void> EtcdBackend::lookAtChanges(uint64_t revision) {
  auto lines = co_await client.watch(orch::etcd::watchRequest(place.nodes, revision + 1));
  for (;;) {
    auto line = co_await lines->next();
    auto message = orch::etcd::readWatch(line);
    // What it should begin with is compacted already.
    bool compacted = message.canceled && message.compactRevision > 0;
    heard = heard || compacted || !message.canceled;
    if (compacted) co_return;
    if (message.canceled) fail(kj::str(message.reason.c_str()));
    bool news = std::any_of(message.events.begin(), message.events.end(),
                            [&](auto& event) { return event.kv.modRevision > revision; });
    if (news) revision = co_await look();
  }
}

Task<void> EtcdBackend::noticeSilence() {
  for (;;) {
    co_await pause(SILENCE_CHECK);
    auto asking = orch::etcd::newestRequest(place.nodes, orch::etcd::endOf(place.nodes));
    auto body = co_await client.demand("/v3/kv/range", kj::mv(asking));
    if (markOf(orch::etcd::readRange(body)) != seen) co_return;
  }
}

Task<uint64_t> EtcdBackend::leaseOf(std::string address, uint64_t seconds) {
  auto has = leases[address];
  bool fits = has.id != 0 && has.seconds == seconds;
  bool renewed = false;
  if (fits) renewed = co_await client.renew(has.id);
  if (renewed) co_return has.id;
  auto id = co_await client.grant(seconds);
  leases[address] = Lease{id, seconds};
  co_return id;
}

Task<void> EtcdBackend::put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs) {
  checkEntry(entry, ttlMs);
  return enter(entry.getAddress().cStr(), detailsOf(entry), (ttlMs + 999) / 1000);
}

Task<void> EtcdBackend::enter(std::string address, std::string details, uint64_t seconds) {
  auto pass = co_await writing.enter();
  if (leases.size() >= MAX_OWN && leases.count(address) == 0) {
    fail(kj::str("this node has registered ", MAX_OWN, " entries; no more are accepted"));
  }
  auto before = leases[address].id;
  auto nodeKey = place.nodes + address, detailsKey = place.details + address;
  uint64_t lease = 0;
  for (int i = 0;; ++i) {
    lease = co_await leaseOf(address, seconds);
    // An entry that is as it should be is not written: that would wake whoever watches.
    TxnRequest txn;
    txn.ifValue(nodeKey, address).ifLeased(nodeKey, lease);
    txn.ifValue(detailsKey, details).ifLeased(detailsKey, lease);
    txn.elsePut(nodeKey, address, lease).elsePut(detailsKey, details, lease);
    auto reply = co_await client.ask("/v3/kv/txn", txn.text());
    if (reply.kind == Reply::Kind::ANSWERED) break;
    if (reply.kind == Reply::Kind::LOST) fail(kj::str(reply.reason.c_str()));
    bool again = orch::etcd::Client::isLeaseGone(reply.refusal) && i < MAX_TRIES;
    if (!again) fail(kj::str(client.refusalText(reply.refusal).c_str()));
  }
  bool replaced = before != 0 && before != lease;
  // If it does not work, the lease ends by itself.
  if (replaced) co_await attempt(client.revoke(before));
}

Task<void> EtcdBackend::remove(std::string address) {
  if (!isAddress(address)) {
    fail(kj::str("address is '", address.c_str(), "'; accepted: host:port, in lower case"));
  }
  auto pass = co_await writing.enter();
  TxnRequest txn;
  txn.thenDelete(place.nodes + address).thenDelete(place.details + address);
  co_await client.demand("/v3/kv/txn", txn.text());
  auto found = leases.find(address);
  if (found == leases.end()) co_return;
  auto id = found->second.id;
  leases.erase(found);
  if (id != 0) co_await attempt(client.revoke(id));
}

schema::Discovery::Client newEtcdServer(kj::Own<EtcdBackend> backend) {
  return kj::heap<BackendServer<EtcdBackend>>(kj::mv(backend), "an etcd");
}

}  // namespace orch::discovery::etcd
