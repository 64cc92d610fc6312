// How a batch is committed: one transaction, if what this node remembers is right.
#include "orch/attempt.h"
#include "orch/fail.h"
#include "zookeeper-store.h"
#include "zookeeper/persist.h"

namespace orch::store::zookeeper {

namespace {

// Names of objects that are remembered; beyond that all are asked for again.
constexpr size_t MAX_OBJECTS = 500'000;
// Tries that somebody else's were in the way of.
constexpr int MAX_RACES = 50;
// What a server takes, unless it is told otherwise.
constexpr size_t JUTE_MAX_BUFFER = 0xfffff;

std::string nameIn(schema::Op::Reader op) {
  return nameOf(viewOf(op.getKind()), viewOf(op.getKey()));
}

std::string_view bytesIn(capnp::Data::Reader data) { return {data.asChars().begin(), data.size()}; }

}  // namespace

Multi ZookeeperStore::commitRequest(schema::Batch::Reader batch, const Head& next) const {
  auto multi = guarded();
  BatchRecord record{next.number, true, std::string(viewOf(batch.getId()))};
  multi.set(layout.head(), next.text(), memory.at.headVersion)
      .create(layout.batches() + "/" + record.name(), "")
      .create(layout.change(next.number), sealChange(next.number, batch));
  for (auto op : batch.getOps()) {
    auto name = nameIn(op);
    auto path = layout.object(name);
    if (op.isDelete()) {
      multi.remove(path);
      continue;
    }
    auto sealed = sealObject(name, next.number, bytesIn(op.getPut()));
    if (op.getExpected() == 0) {
      multi.create(path, sealed);
    } else {
      multi.set(path, sealed);
    }
  }
  return multi;
}

Task<bool> ZookeeperStore::learnObjects(schema::Batch::Reader batch, bool all) {
  auto before = generation;
  std::vector<std::string> names;
  std::vector<kj::Promise<std::optional<Object>>> reads;
  for (auto op : batch.getOps()) {
    auto name = nameIn(op);
    bool needed = all || op.getExpected() != 0;
    if (!needed || memory.objects.count(name) > 0) continue;
    reads.push_back(object(name));
    names.push_back(kj::mv(name));
  }
  for (size_t i = 0; i < reads.size(); ++i) {
    auto found = co_await reads[i];
    if (!remembers(before)) co_return false;
    memory.objects[names[i]] = found ? found->revision : 0;
  }
  co_return true;
}

std::optional<CommitAnswer> ZookeeperStore::refusal(schema::Batch::Reader batch,
                                                    uint64_t epoch) const {
  CommitAnswer result;
  result.kind = CommitAnswer::Kind::REFUSED;
  result.epoch = memory.at.founding.epoch;
  auto record = memory.recordOf(std::string(viewOf(batch.getId())));
  if (record) {
    result.reason =
        kj::str("batch '", batch.getId(), "' was ",
                record->applied ? "applied already, as revision " : "given up at revision ",
                record->number)
            .cStr();
    return result;
  }
  if (result.epoch != epoch) {
    result.reason =
        kj::str("the epoch is ", result.epoch, ", not ", epoch, ": another one leads since").cStr();
    return result;
  }
  for (auto op : batch.getOps()) {
    auto known = memory.objects.find(nameIn(op));
    bool fits = known == memory.objects.end() || known->second == op.getExpected();
    if (!fits) result.conflicts.emplace_back(kj::str(op.getKind(), "/", op.getKey()).cStr());
  }
  if (result.conflicts.empty()) return std::nullopt;
  auto more = result.conflicts.size() - 1;
  result.reason = kj::str("'", result.conflicts[0].c_str(), "'",
                          more > 0 ? kj::str(" and ", more, " more") : kj::str(),
                          " changed since this was decided")
                      .cStr();
  return result;
}

void ZookeeperStore::applied(uint64_t before, schema::Batch::Reader batch, const Head& next) {
  advance(before, next, BatchRecord{next.number, true, std::string(viewOf(batch.getId()))});
  if (memory.session == 0) return;
  if (memory.objects.size() > MAX_OBJECTS) memory.objects.clear();
  for (auto op : batch.getOps()) memory.objects[nameIn(op)] = op.isPut() ? next.number : 0;
}

Task<std::optional<CommitAnswer>> ZookeeperStore::tryCommit(schema::Batch::Reader batch,
                                                            uint64_t epoch, Try& trying) {
  using Answer = std::optional<CommitAnswer>;
  co_await ensure();
  bool learnt = co_await learnObjects(batch, trying.lookAtAll);
  if (!learnt) co_return Answer();
  auto before = generation;
  auto refused = refusal(batch, epoch);
  if (refused) {
    // What was remembered may be old.
    auto multi = guarded();
    multi.check(layout.head(), memory.at.headVersion);
    auto done = co_await client.multi(multi);
    if (done.code == Code::OK) co_return kj::mv(refused);
    forget();
    if (!isRace(done.code)) client.failWith(done.code);
    co_return Answer();
  }
  auto next = nextHead(true);
  next.sum = sumAfter(next.sum, next.number, batch);
  auto request = commitRequest(batch, next);
  trying.bytes = request.bytes();
  trying.inFlight = true;
  auto done = co_await client.multi(request);
  if (isLost(done.code)) client.failWith(done.code);
  trying.inFlight = false;
  CommitAnswer result;
  if (done.code == Code::OK) {
    applied(before, batch, next);
    result.kind = CommitAnswer::Kind::COMMITTED;
    result.revision = next.number;
    co_return Answer(kj::mv(result));
  }
  if (!isRace(done.code)) {
    result.kind = CommitAnswer::Kind::REFUSED;
    result.epoch = memory.at.founding.epoch;
    result.reason = client.refusalText(done.code) + "; nothing was changed";
    co_return Answer(kj::mv(result));
  }
  // An object that is there or is not, against what the batch says: which ones do is still to be
  // found out.
  trying.lookAtAll = done.code != Code::BAD_VERSION;
  forget();
  co_return Answer();
}

CommitAnswer ZookeeperStore::unanswered(const Try& trying, uint64_t epoch, std::string why) const {
  CommitAnswer result;
  result.kind = trying.uncertain ? CommitAnswer::Kind::UNKNOWN : CommitAnswer::Kind::REFUSED;
  result.epoch = epoch;
  result.reason = kj::mv(why);
  if (trying.uncertain && trying.bytes > JUTE_MAX_BUFFER) {
    result.reason += "; it was sent " + std::to_string(trying.bytes) +
                     " bytes at once: lower 'maxBytes' and 'maxOps', or raise the servers' "
                     "jute.maxbuffer";
  }
  if (!trying.uncertain) result.reason += "; nothing was changed";
  return result;
}

// A refusal after a try that may still be applied: rules that out, or finds it applied.
Task<CommitAnswer> ZookeeperStore::certain(CommitAnswer refused, std::string batchId) {
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

Task<CommitAnswer> ZookeeperStore::commit(FlatBatch flat, uint64_t epoch) {
  BatchReader reader(*flat);
  auto batch = reader.get();
  std::string id(viewOf(batch.getId()));
  Try trying;
  int races = 0;
  auto committing = orch::zookeeper::persistInTime<CommitAnswer>(
      env, client, settings.timeout, [this, batch, epoch, &trying, &races] {
        trying.uncertain = trying.uncertain || trying.inFlight;
        trying.inFlight = false;
        if (++races > MAX_RACES) fail(kj::str(place().c_str(), " changes too fast for a commit"));
        return tryCommit(batch, epoch, trying);
      });
  auto outcome = co_await attempt(kj::mv(committing));
  trying.uncertain = trying.uncertain || trying.inFlight;
  if (!outcome.ok()) {
    // Only a try that was answered is known to have changed nothing.
    if (!trying.uncertain) kj::throwFatalException(kj::mv(outcome.error()));
    co_return unanswered(trying, epoch, outcome.message().cStr());
  }
  if (!outcome.value()) co_return unanswered(trying, epoch, client.lostText());
  auto answer = kj::mv(*outcome.value());
  bool doubtful = answer.kind == CommitAnswer::Kind::REFUSED && trying.uncertain;
  if (!doubtful) co_return kj::mv(answer);
  co_return co_await certain(kj::mv(answer), kj::mv(id));
}

}  // namespace orch::store::zookeeper
