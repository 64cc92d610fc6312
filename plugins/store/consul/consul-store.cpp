#include "consul-store.h"

#include <algorithm>

#include "follower.h"
#include "lib/seal.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::consul {

namespace {

// A transaction whose condition fails for another reason than what was asked is sent again.
constexpr int MAX_TRIES = 20;

std::string_view viewOfData(capnp::Data::Reader data) {
  return {data.asChars().begin(), data.size()};
}

// Of `change/NUMBER`: the batch with its values, if these are few, or only its names.
std::string changeOf(schema::Batch::Reader batch) {
  size_t bytes = 0;
  for (auto op : batch.getOps()) bytes += op.isPut() ? op.getPut().size() : 0;
  bool whole = bytes <= ConsulStore::VALUES_IN_CHANGE;
  return (whole ? Follower::WHOLE : Follower::NAMES) + flatRecord(batch, whole);
}

}  // namespace

ConsulStore::ConsulStore(Env& env, ClientSettings settings, Layout layout, KnownState known,
                         std::string knownFile, Log log)
    : env(env),
      client(env, kj::mv(settings)),
      layout(kj::mv(layout)),
      log(kj::mv(log)),
      knownFile(std::move(knownFile)) {
  knows = std::move(known);
}

std::string ConsulStore::place() const {
  return std::string(client.name().cStr()) + " under '" + layout.all() + "'";
}

void ConsulStore::failDamaged(std::string_view what, std::string_view consulKey,
                              uint64_t index) const {
  std::string name(what), key(consulKey);
  fail(kj::str(name.c_str(), " in ", place().c_str(), " is damaged (consul's index ", index,
               "): keep a copy with 'consul snapshot save', then restore a backup, or give this "
               "one up with: consul kv delete '",
               key.c_str(), "'"));
}

void ConsulStore::checkNames(schema::Batch::Reader batch) const {
  auto check = [&](kj::StringPtr what, kj::StringPtr name, bool spaces) {
    bool good = isKey({name.begin(), name.size()});
    if (!spaces && name.findFirst(' ') != nullptr) good = false;
    if (good) return;
    fail(kj::str("batch '", batch.getId(), "' has the ", what, " '", name, "'; one of UTF-8 ",
                 spaces ? "without" : "without spaces and", " control characters is accepted"));
  };
  check("id", batch.getId(), true);
  for (auto op : batch.getOps()) {
    check("kind", op.getKind(), false);
    check("key", op.getKey(), true);
  }
}

kj::Own<Following> ConsulStore::follow(uint64_t from, schema::ChangeSink::Client sink) {
  return kj::heap<Follower>(*this, from, kj::mv(sink));
}

void ConsulStore::learn(uint64_t revision) {
  if (knows.learn(KnownState{lastFounding->id, revision, lastFounding->epoch})) learned();
}

bool ConsulStore::accept(const TxnAnswer& answer, const KnownState& before) {
  auto expected = before;
  auto* stateError = answer.errorAt(STATE_AT);
  auto* headError = answer.errorAt(HEAD_AT);
  if (stateError != nullptr && headError != nullptr) {
    auto why = expected.whyNot({}, place(), knownFile);
    if (!why.empty()) fail(kj::str(why.c_str()));
    return false;
  }
  if (stateError != nullptr) failDamaged("the state without its key 'state'", layout.head(), 0);
  if (headError != nullptr) failDamaged("the state without its key 'head'", layout.state(), 0);
  auto* state = answer.of(layout.state());
  auto* at = answer.of(layout.head());
  // Whoever may not read a key gets an answer without it.
  if (state == nullptr || at == nullptr) {
    fail(kj::str(client.refusal("Permission denied").c_str()));
  }
  auto found = Founding::read(state->value, state->modifyIndex);
  if (!found) failDamaged("the key 'state'", layout.state(), state->modifyIndex);
  auto newest = Head::read(at->value, at->modifyIndex);
  if (!newest) failDamaged("the key 'head'", layout.head(), at->modifyIndex);
  KnownState there{found->id, newest->revision(), found->epoch};
  expected.id = knows.id;  // it never changes
  auto why = expected.whyNot(there, place(), knownFile);
  if (!why.empty()) fail(kj::str(why.c_str()));
  if (!lastFounding || found->index > lastFounding->index) lastFounding = *found;
  if (!lastHead || newest->index > lastHead->index) lastHead = *newest;
  learn(newest->revision());
  return true;
}

Task<std::optional<KeyValue>> ConsulStore::look(std::string batchId) {
  TxnRequest txn;
  ask(txn);
  auto key = layout.batch(batchId);
  if (!batchId.empty()) txn.getTree(key);  // which may not be there
  auto before = knows;
  auto answer = co_await client.transact(txn);
  if (!accept(answer, before)) co_return std::nullopt;
  auto* record = answer.of(key);
  if (record == nullptr) co_return std::nullopt;
  co_return *record;
}

Task<void> ConsulStore::found() {
  if (lastFounding) co_return;
  co_await look();
  if (lastFounding) co_return;
  // Whoever knows a state makes no other in its place: it has failed above.
  Founding made;
  made.id = env.newId().cStr();
  Head first;
  first.batch = made.id;
  auto record = layout.batch(made.id);
  TxnRequest txn;
  txn.create(layout.state(), made.text())
      .create(layout.head(), first.text())
      .create(record, layout.sealed(record, "0"));
  co_await client.transact(txn);
  // What is there now is this state, or another one's that was quicker.
  co_await look();
  if (!lastFounding) fail(kj::str(place().c_str(), " does not keep what is written; try again"));
}

TxnRequest& ConsulStore::guard(TxnRequest& txn) const {
  return txn.checkIndex(layout.state(), lastFounding->index)
      .checkIndex(layout.batch(lastHead->batch), lastHead->index);
}

TxnRequest ConsulStore::commitRequest(schema::Batch::Reader batch) const {
  Head next;
  next.number = lastHead->number + 1;
  next.batch = viewOf(batch.getId());
  auto record = layout.batch(next.batch);
  auto change = layout.change(next.number);
  TxnRequest txn;
  guard(txn)
      .create(record, layout.sealed(record, std::to_string(next.number)))
      .create(change, layout.sealed(change, changeOf(batch)))
      .set(layout.head(), next.text());
  for (auto op : batch.getOps()) {
    auto key = layout.object(viewOf(op.getKind()), viewOf(op.getKey()));
    if (op.isPut()) {
      auto content = withNumber(op.getExpected(), viewOfData(op.getPut()));
      txn.replace(key, layout.sealed(key, content), op.getExpected());
    } else {
      txn.erase(key, op.getExpected());
    }
  }
  return txn;
}

void ConsulStore::judge(Try& tried, const std::vector<uint32_t>& changes, size_t firstAt) const {
  if (tried.reply.kind != Reply::Kind::ANSWERED) return;
  auto read = attemptNow([&] { return readTxn(tried.reply.body); });
  if (!read.ok()) {
    tried.reply.kind = Reply::Kind::LOST;
    tried.reply.uncertain = true;
    tried.reply.reason = kj::str(client.name(), " ", read.message()).cStr();
    return;
  }
  auto& answer = read.value();
  for (auto& error : answer.errors) {
    if (!error.isCondition()) {
      tried.reply.kind = Reply::Kind::REFUSED;
      tried.reply.reason = client.refusal(error.what);
    } else if (error.index >= firstAt && error.index - firstAt < changes.size()) {
      tried.stale.push_back(changes[error.index - firstAt]);
    }
  }
  if (!answer.errors.empty()) return;
  if (auto* written = answer.of(layout.head())) tried.committed = written->modifyIndex;
}

Task<ConsulStore::Try> ConsulStore::tryCommit(schema::Batch::Reader batch, uint64_t epoch) {
  Try tried;
  tried.reply.kind = Reply::Kind::ANSWERED;
  if (lastFounding->epoch != epoch) co_return kj::mv(tried);
  auto next = commitRequest(batch);  // on the head that is known before the look
  std::vector<uint32_t> deleted, all;
  TxnRequest looking;
  auto ops = batch.getOps();
  for (uint32_t i = 0; i < ops.size(); ++i) {
    all.push_back(i);
    if (!ops[i].isDelete()) continue;
    deleted.push_back(i);
    auto key = layout.object(viewOf(ops[i].getKind()), viewOf(ops[i].getKey()));
    looking.checkIndex(key, ops[i].getExpected());
  }
  if (!deleted.empty()) {
    tried.reply = co_await client.ask(looking);
    judge(tried, deleted, 0);
    tried.reply.uncertain = false;  // it changes nothing
    bool goesOn = tried.reply.kind == Reply::Kind::ANSWERED && tried.stale.empty();
    if (!goesOn) co_return kj::mv(tried);
  }
  tried.reply = co_await client.ask(next);
  judge(tried, all, OTHER_OPS);
  co_return kj::mv(tried);
}

bool ConsulStore::isApplied(const KeyValue& record) const {
  auto content = layout.unsealed(record.key, record.value);
  if (!content) failDamaged("the record of a batch", record.key, record.modifyIndex);
  return !content->empty();
}

Task<std::optional<CommitAnswer>> ConsulStore::explain(schema::Batch::Reader batch, uint64_t epoch,
                                                       std::vector<uint32_t> stale) {
  auto record = co_await look(std::string(viewOf(batch.getId())));
  CommitAnswer result;
  result.kind = CommitAnswer::Kind::REFUSED;
  result.epoch = lastFounding->epoch;
  if (record) {
    bool applied = isApplied(*record);
    result.reason = kj::str("batch '", batch.getId(), "' was ",
                            applied ? "applied already, as revision " : "given up at revision ",
                            record->modifyIndex)
                        .cStr();
    co_return kj::mv(result);
  }
  if (result.epoch != epoch) {
    result.reason =
        kj::str("the epoch is ", result.epoch, ", not ", epoch, ": another one leads since").cStr();
    co_return kj::mv(result);
  }
  if (stale.empty()) co_return std::nullopt;
  auto ops = batch.getOps();
  for (auto i : stale) {
    result.conflicts.emplace_back(kj::str(ops[i].getKind(), "/", ops[i].getKey()).cStr());
  }
  auto more = stale.size() - 1;
  result.reason = kj::str("'", result.conflicts[0].c_str(), "'",
                          more > 0 ? kj::str(" and ", more, " more") : kj::str(),
                          " changed since this was decided")
                      .cStr();
  co_return kj::mv(result);
}

Task<CommitAnswer> ConsulStore::notCommitted(Reply reply, bool uncertain, std::string batchId,
                                             uint64_t epoch) {
  CommitAnswer result;
  result.kind = uncertain ? CommitAnswer::Kind::UNKNOWN : CommitAnswer::Kind::REFUSED;
  result.epoch = epoch;
  result.reason = reply.reason + (uncertain ? "" : "; nothing was changed");
  bool over = reply.kind == Reply::Kind::REFUSED && uncertain;
  if (!over) co_return kj::mv(result);
  co_return co_await certain(kj::mv(result), kj::mv(batchId));
}

Task<CommitAnswer> ConsulStore::certain(CommitAnswer refused, std::string batchId) {
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

Task<CommitAnswer> ConsulStore::commit(FlatBatch flat, uint64_t epoch) {
  BatchReader reader(*flat);
  auto batch = reader.get();
  co_await found();
  bool uncertain = false;
  std::string id(viewOf(batch.getId()));
  for (int i = 0; i < MAX_TRIES; ++i) {
    auto pass = co_await writing.enter();
    auto tried = co_await tryCommit(batch, epoch);
    pass.release();
    uncertain = uncertain || tried.reply.uncertain;
    if (tried.reply.kind != Reply::Kind::ANSWERED) {
      co_return co_await notCommitted(kj::mv(tried.reply), uncertain, kj::mv(id), epoch);
    }
    if (tried.committed) {
      auto revision = *tried.committed;
      CommitAnswer result;
      result.kind = CommitAnswer::Kind::COMMITTED;
      result.revision = revision;
      if (revision > lastHead->index) lastHead = Head{lastHead->number + 1, id, revision};
      learn(revision);
      co_return kj::mv(result);
    }
    auto why = co_await attempt(explain(batch, epoch, kj::mv(tried.stale)));
    if (!why.ok()) {
      // Only a try that was answered is known to have changed nothing.
      if (!uncertain) kj::throwFatalException(kj::mv(why.error()));
      CommitAnswer unclear;
      unclear.reason = why.message().cStr();
      co_return kj::mv(unclear);
    }
    if (!why.value()) continue;
    auto refused = kj::mv(*why.value());
    if (!uncertain) co_return kj::mv(refused);
    co_return co_await certain(kj::mv(refused), kj::mv(id));
  }
  CommitAnswer unclear;
  unclear.reason = place() +
                   " refuses a batch for no reason that can be seen; a copy of the keys alone is "
                   "none: bring back a snapshot of consul";
  co_return kj::mv(unclear);
}

Task<std::optional<uint64_t>> ConsulStore::find(std::string batchId) {
  co_await found();
  auto key = layout.batch(batchId);
  for (int i = 0; i < MAX_TRIES; ++i) {
    auto record = co_await look(batchId);
    bool over = record && !isApplied(*record);
    if (over) co_return std::nullopt;
    if (record) co_return record->modifyIndex;
    TxnRequest txn;
    guard(txn).create(key, layout.sealed(key, ""));
    auto answer = co_await client.transact(txn);
    if (answer.errors.empty()) co_return std::nullopt;
  }
  fail(kj::str(place().c_str(), " changes too fast to be asked for a batch; try again"));
}

Task<ElectAnswer> ConsulStore::elect(std::string candidate, uint64_t expected, uint64_t least) {
  co_await found();
  auto next = std::max(expected + 1, least);
  bool uncertain = false;
  for (int i = 0; i < MAX_TRIES; ++i) {
    if (lastFounding->epoch != expected || i > 0) co_await look();
    auto after = *lastFounding;
    if (after.epoch != expected) {
      // The try before may have been the one that won.
      bool mine = uncertain && after.epoch == next && after.leader == candidate;
      ElectAnswer there{mine, after.epoch, after.leader};
      co_return kj::mv(there);
    }
    after.epoch = next;
    after.leader = candidate;
    TxnRequest txn;
    guard(txn).set(layout.state(), after.text());
    auto reply = co_await client.ask(txn);
    uncertain = uncertain || reply.uncertain;
    if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
    auto answer = readTxn(reply.body);
    for (auto& error : answer.errors) {
      if (!error.isCondition()) fail(kj::str(client.refusal(error.what).c_str()));
    }
    if (!answer.errors.empty()) continue;
    auto* written = answer.of(layout.state());
    after.index = written == nullptr ? 0 : written->modifyIndex;
    if (after.index > lastFounding->index) lastFounding = after;
    learn(0);
    ElectAnswer won{true, after.epoch, candidate};
    co_return kj::mv(won);
  }
  fail(kj::str(place().c_str(), " changes too fast for an election; try again"));
}

}  // namespace orch::store::consul
