#include "etcd-store.h"

#include <algorithm>
#include <tuple>

#include "follower.h"
#include "lib/seal.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::etcd {

namespace {

const std::string TXN = "/v3/kv/txn";
// A transaction whose condition fails for another reason than what was asked is sent again.
constexpr int MAX_TRIES = 20;
// Changes in one transaction, less the one of `state`.
constexpr uint64_t TRIM_AT_ONCE = 120;
// Where results of the failed conditions stand.
enum : size_t { STATE, HEAD, RECORD, OBJECTS };

std::string_view viewOfData(capnp::Data::Reader data) {
  return {data.asChars().begin(), data.size()};
}

}  // namespace

EtcdStore::EtcdStore(Env& env, const EtcdSettings& settings, Layout layout, KnownState known,
                     std::string knownFile, Log log)
    : env(env),
      client(env, settings.endpoints, settings.tls, settings.timeout),
      layout(kj::mv(layout)),
      log(kj::mv(log)),
      knownFile(std::move(knownFile)),
      history(env, client, *this, this->log, settings.history) {
  knows = std::move(known);
}

std::string EtcdStore::place() const {
  return std::string(client.name().cStr()) + " under '" + layout.all() + "'";
}

void EtcdStore::failDamaged(std::string_view what, std::string_view etcdKey,
                            uint64_t revision) const {
  std::string name(what), key(etcdKey);
  fail(kj::str(
      name.c_str(), " in ", place().c_str(), " is damaged (etcd's revision ", revision,
      "): keep a copy with 'etcdctl snapshot save', then restore a backup, or give this one "
      "up with: etcdctl del '",
      key.c_str(), "'"));
}

void EtcdStore::checkNames(schema::Batch::Reader batch) const {
  for (auto op : batch.getOps()) {
    for (unsigned char c : op.getKind()) {
      if (c > ' ') continue;
      fail(kj::str("batch '", batch.getId(), "' has the kind '", op.getKind(),
                   "'; one without spaces and control characters is accepted"));
    }
  }
}

void EtcdStore::forget() {
  knows = KnownState();
  founding.reset();
  learned();
}

kj::Own<Following> EtcdStore::follow(uint64_t from, schema::ChangeSink::Client sink) {
  return kj::heap<Follower>(env, client, *this, layout, log, from, kj::mv(sink));
}

Founding EtcdStore::accept(const TxnAnswer& answer, const KnownState& before) {
  auto* state = answer.at(STATE);
  auto* head = answer.at(HEAD);
  std::optional<Founding> read;
  if (state != nullptr) {
    read = Founding::read(state->value);
    if (!read) failDamaged("the key 'state'", layout.state(), state->modRevision);
  }
  uint64_t revision = head == nullptr ? 0 : head->modRevision;
  auto expected = before;
  if (read) expected.id = knows.id;  // it never changes
  KnownState there;
  if (read) there = KnownState{read->id, revision, read->epoch};
  auto why = expected.whyNot(there, place(), knownFile);
  if (!why.empty()) fail(kj::str(why.c_str()));
  if (!read && head != nullptr) {
    failDamaged("the state without its key 'state'", layout.head(), revision);
  }
  if (!read) return Founding();
  bool newer = !founding ||
               std::tie(read->epoch, read->trimmed) >= std::tie(founding->epoch, founding->trimmed);
  if (newer) founding = read;
  if (knows.learn(there)) learned();
  return *read;
}

Task<TxnAnswer> EtcdStore::transact(const TxnRequest& txn) {
  auto text = co_await client.demand(TXN, txn.text());
  co_return readTxn(text);
}

Task<void> EtcdStore::found() {
  if (founding) co_return;
  Founding made;
  made.id = env.newId().cStr();
  TxnRequest txn;
  // Whoever knows a state makes no other in its place.
  if (knows.id.empty()) {
    txn.ifMissing(layout.state()).ifMissing(layout.head()).thenPut(layout.state(), made.text());
  } else {
    txn.ifValue(layout.state(), "");  // never holds
  }
  txn.elseGet(layout.state()).elseLook(layout.head());
  auto before = knows;
  auto answer = co_await transact(txn);
  if (answer.succeeded) {
    founding = made;
    learn(made, 0);
    co_return;
  }
  accept(answer, before);
}

void EtcdStore::guard(TxnRequest& txn, const Founding& expected) const {
  txn.ifValue(layout.state(), expected.text()).ifChangedAtLeast(layout.head(), knows.revision);
  txn.elseGet(layout.state()).elseLook(layout.head());
}

TxnRequest EtcdStore::commitRequest(schema::Batch::Reader batch, uint64_t epoch) const {
  TxnRequest txn;
  auto expected = *founding;
  expected.epoch = epoch;
  guard(txn, expected);
  auto id = viewOf(batch.getId());
  auto recordKey = layout.batch(id);
  txn.ifMissing(recordKey).elseGet(recordKey);
  for (auto op : batch.getOps()) {
    auto key = layout.object(viewOf(op.getKind()), viewOf(op.getKey()));
    txn.ifChangedAt(key, op.getExpected()).elseLook(key);
    if (op.isPut()) {
      txn.thenPut(key, layout.seal(key, viewOfData(op.getPut())));
    } else {
      txn.thenDelete(key);
    }
  }
  txn.thenPut(recordKey, layout.seal(recordKey, flatRecord(batch, false)));
  txn.thenPut(layout.head(), id);
  return txn;
}

CommitAnswer EtcdStore::unanswered(const Reply& reply, bool uncertain, uint64_t epoch) const {
  CommitAnswer result;
  result.kind = uncertain ? CommitAnswer::Kind::UNKNOWN : CommitAnswer::Kind::REFUSED;
  result.epoch = epoch;
  result.reason =
      reply.kind == Reply::Kind::LOST ? reply.reason : client.refusalText(reply.refusal);
  if (!uncertain) result.reason += "; nothing was changed";
  return result;
}

bool EtcdStore::isApplied(const KeyValue& record) const {
  auto content = layout.unseal(record.key, record.value);
  if (!content) failDamaged("the record of a batch", record.key, record.modRevision);
  return !content->empty();
}

EtcdStore::Next EtcdStore::explain(const TxnAnswer& answer, const KnownState& before,
                                   schema::Batch::Reader batch, uint64_t epoch,
                                   CommitAnswer& result) {
  auto there = accept(answer, before);
  result.kind = CommitAnswer::Kind::REFUSED;
  result.epoch = there.epoch;
  if (auto* record = answer.at(RECORD)) {
    bool applied = isApplied(*record);
    result.reason = kj::str("batch '", batch.getId(), "' was ",
                            applied ? "applied already, as revision " : "given up at revision ",
                            record->modRevision)
                        .cStr();
    return Next::DONE;
  }
  if (result.epoch != epoch) {
    result.reason =
        kj::str("the epoch is ", result.epoch, ", not ", epoch, ": another one leads since").cStr();
    return Next::DONE;
  }
  auto ops = batch.getOps();
  for (uint32_t i = 0; i < ops.size(); ++i) {
    auto* object = answer.at(OBJECTS + i);
    if ((object == nullptr ? 0 : object->modRevision) == ops[i].getExpected()) continue;
    result.conflicts.emplace_back(kj::str(ops[i].getKind(), "/", ops[i].getKey()).cStr());
  }
  if (result.conflicts.empty()) return Next::AGAIN;
  auto more = result.conflicts.size() - 1;
  result.reason = kj::str("'", result.conflicts[0].c_str(), "'",
                          more > 0 ? kj::str(" and ", more, " more") : kj::str(),
                          " changed since this was decided")
                      .cStr();
  return Next::DONE;
}

Task<CommitAnswer> EtcdStore::notCommitted(Reply reply, bool uncertain, std::string batchId,
                                           uint64_t epoch) {
  auto result = unanswered(reply, uncertain, epoch);
  if (reply.kind == Reply::Kind::LOST) co_return kj::mv(result);
  if (uncertain) co_return co_await certain(kj::mv(result), kj::mv(batchId));
  if (!Client::isFull(reply.refusal)) co_return kj::mv(result);
  // It was answered, so it is over: its record is there or never will be.
  auto outcome = co_await attempt(applied(kj::mv(batchId)));
  if (!outcome.ok()) {
    result.kind = CommitAnswer::Kind::UNKNOWN;
  } else if (outcome.value()) {
    result.kind = CommitAnswer::Kind::COMMITTED;
    result.revision = *outcome.value();
  }
  co_return kj::mv(result);
}

Task<CommitAnswer> EtcdStore::certain(CommitAnswer refused, std::string batchId) {
  auto outcome = co_await attempt(find(kj::mv(batchId)));
  refused.kind = outcome.ok() ? CommitAnswer::Kind::REFUSED : CommitAnswer::Kind::UNKNOWN;
  if (!outcome.ok()) {
    refused.reason = outcome.message().cStr();
  } else if (outcome.value()) {
    refused.kind = CommitAnswer::Kind::COMMITTED;
    refused.revision = *outcome.value();
  }
  co_return kj::mv(refused);
}

Task<CommitAnswer> EtcdStore::commit(FlatBatch flat, uint64_t epoch) {
  BatchReader reader(*flat);
  auto batch = reader.get();
  co_await found();
  bool uncertain = false;
  for (int i = 0; i < MAX_TRIES; ++i) {
    auto before = knows;
    auto reply = co_await client.ask(TXN, commitRequest(batch, epoch).text());
    uncertain = uncertain || reply.uncertain;
    std::string id(viewOf(batch.getId()));
    if (reply.kind != Reply::Kind::ANSWERED) {
      co_return co_await notCommitted(kj::mv(reply), uncertain, kj::mv(id), epoch);
    }
    CommitAnswer result;
    auto read = attemptNow([&] { return readTxn(reply.body); });
    if (!read.ok()) {
      result.reason = kj::str(client.name(), " ", read.message()).cStr();
      co_return kj::mv(result);
    }
    if (read.value().succeeded) {
      result.kind = CommitAnswer::Kind::COMMITTED;
      result.revision = read.value().header.revision;
      founding->epoch = epoch;
      learn(*founding, result.revision);
      co_return kj::mv(result);
    }
    auto next = attemptNow([&] { return explain(read.value(), before, batch, epoch, result); });
    if (!next.ok()) {
      // Only a try that was answered is known to have changed nothing.
      if (!uncertain) kj::throwFatalException(kj::mv(next.error()));
      result.kind = CommitAnswer::Kind::UNKNOWN;
      result.reason = next.message().cStr();
      co_return kj::mv(result);
    }
    if (next.value() == Next::AGAIN) continue;
    if (!uncertain) co_return kj::mv(result);
    co_return co_await certain(kj::mv(result), kj::mv(id));
  }
  CommitAnswer unclear;
  unclear.reason = place() + " refuses a batch for no reason that can be seen";
  co_return kj::mv(unclear);
}

Task<std::optional<uint64_t>> EtcdStore::applied(std::string batchId) {
  auto key = layout.batch(batchId);
  TxnRequest txn;
  txn.thenGet(layout.state()).thenGet(layout.head()).thenGet(key);
  auto before = knows;
  auto answer = co_await transact(txn);
  accept(answer, before);
  auto* record = answer.at(RECORD);
  bool there = record != nullptr && isApplied(*record);
  if (!there) co_return std::nullopt;
  co_return record->modRevision;
}

Task<std::optional<uint64_t>> EtcdStore::find(std::string batchId) {
  co_await found();
  auto key = layout.batch(batchId);
  // A full etcd answers a question that might write nothing at all.
  auto revision = co_await applied(batchId);
  if (revision) co_return revision;
  for (int i = 0; i < MAX_TRIES; ++i) {
    TxnRequest txn;
    guard(txn, *founding);
    txn.ifMissing(key).thenPut(key, layout.seal(key, "")).elseGet(key);
    auto before = knows;
    auto answer = co_await transact(txn);
    if (answer.succeeded) co_return std::nullopt;
    accept(answer, before);
    if (auto* record = answer.at(RECORD)) {
      if (!isApplied(*record)) co_return std::nullopt;
      co_return record->modRevision;
    }
  }
  fail(kj::str(place().c_str(), " changes too fast to be asked for a batch; try again"));
}

Task<ElectAnswer> EtcdStore::leads() {
  TxnRequest txn;
  txn.thenGet(layout.state()).thenGet(layout.head()).thenGet(layout.leader());
  auto before = knows;
  auto answer = co_await transact(txn);
  auto there = accept(answer, before);
  auto* leader = answer.at(RECORD);
  ElectAnswer told{false, there.epoch, leader == nullptr ? "" : leader->value};
  co_return kj::mv(told);
}

Task<ElectAnswer> EtcdStore::elect(std::string candidate, uint64_t expected, uint64_t least) {
  co_await found();
  bool uncertain = false;
  if (founding->epoch != expected) {
    // Most likely it only asks, again and again. What could write is in etcd's log, if it does or
    // not, and on the disks of all members; a question is not.
    auto told = co_await leads();
    if (told.epoch != expected) co_return kj::mv(told);
  }
  for (int i = 0; i < MAX_TRIES; ++i) {
    auto from = *founding;
    from.epoch = expected;
    auto after = from;
    after.epoch = std::max(expected + 1, least);
    TxnRequest txn;
    guard(txn, from);
    txn.thenPut(layout.state(), after.text()).thenPut(layout.leader(), candidate);
    txn.elseGet(layout.leader());
    auto before = knows;
    auto reply = co_await client.ask(TXN, txn.text());
    uncertain = uncertain || reply.uncertain;
    if (reply.kind != Reply::Kind::ANSWERED) {
      fail(kj::str(unanswered(reply, true, expected).reason.c_str()));
    }
    auto answer = readTxn(reply.body);
    if (answer.succeeded) {
      founding = after;
      learn(after, 0);
      ElectAnswer won{true, after.epoch, candidate};
      co_return kj::mv(won);
    }
    auto there = accept(answer, before);
    auto* leads = answer.at(RECORD);
    std::string leader = leads == nullptr ? "" : leads->value;
    // The try before may have been the one that won.
    bool mine = uncertain && there.epoch == after.epoch && leader == candidate;
    ElectAnswer lost{mine, there.epoch, leader};
    if (there.epoch != expected) co_return kj::mv(lost);
  }
  fail(kj::str(place().c_str(), " changes too fast for an election; try again"));
}

Task<void> EtcdStore::trim(uint64_t keep) {
  co_await found();
  auto first = layout.batches();
  for (int tries = 0; tries < MAX_TRIES; ++tries) {
    auto text =
        co_await client.demand("/v3/kv/range", oldestRequest(first, endOf(first), TRIM_AT_ONCE));
    auto range = readRange(text);
    if (range.count <= keep || range.kvs.empty()) co_return;
    range.kvs.resize(std::min<uint64_t>(range.kvs.size(), range.count - keep));
    auto after = *founding;
    after.trimmed = range.kvs.back().modRevision;
    TxnRequest txn;
    guard(txn, *founding);
    txn.thenPut(layout.state(), after.text());
    for (auto& record : range.kvs) txn.thenDelete(record.key);
    auto before = knows;
    auto answer = co_await transact(txn);
    if (answer.succeeded) {
      founding = after;
    } else {
      accept(answer, before);
    }
  }
}

}  // namespace orch::store::etcd
