#include "local-store.h"

#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::local {

namespace {

constexpr uint64_t CHUNK_BYTES = 256 << 10;
// Three quarters of the reserved log, in pages of 4 KiB: a commit rarely makes the file grow.
constexpr uint64_t pagesDue(uint64_t logBytes) {
  return kj::max(logBytes / 4096 * 3 / 4, uint64_t(1));
}
// Deleting a few records at a time touches fewer pages than one by one.
constexpr uint64_t PRUNE_STEP = 16;

const std::string& prepared(const std::string& directory) {
  checkFiles(directory);
  return directory;
}

bool holds(const std::optional<ObjectMark>& mark, uint64_t expected) {
  return (mark ? mark->revision : 0) == expected;
}

}  // namespace

LocalStore::LocalStore(StoreOptions given)
    : options(kj::mv(given)),
      lock(options.directory),
      database(databasePath(prepared(options.directory))) {
  checkDatabase(database);
  tables.emplace(database);
  summary = checkState(options.directory, database, *tables, options.acceptLoss, repaired);
  revisionFile.emplace(revisionPath(options.directory));
  begin.emplace(database, "BEGIN IMMEDIATE");
  end.emplace(database, "COMMIT");
  firstChange = tables->firstChange();
  database.reserveLog(options.logBytes);
}
LocalStore::~LocalStore() noexcept {}

std::vector<CommitAnswer> LocalStore::commit(kj::ArrayPtr<const PendingCommit> group) {
  if (!broken.empty()) {
    return std::vector<CommitAnswer>(group.size(), refused(broken, summary.state.epoch));
  }
  auto together = attemptNow([&] { return commitTogether(group); });
  if (together.ok()) return kj::mv(together.value());
  database.rollback();
  bool whole = group.size() == 1 || !database.lastWasFull();
  if (whole) return explain(group.size(), together.message());
  // Perhaps only one of them is too large for the disk.
  std::vector<CommitAnswer> answers;
  for (auto& one : group) {
    auto answer = commit(kj::arrayPtr(&one, 1));
    answers.push_back(kj::mv(answer[0]));
  }
  return answers;
}

std::vector<CommitAnswer> LocalStore::explain(size_t count, kj::StringPtr error) {
  CommitAnswer answer =
      refused(kj::str(error, "; nothing was changed").cStr(), summary.state.epoch);
  if (stage == Stage::COMMITTING && !database.lastWasFull()) {
    breakOff(error);
    answer.kind = CommitAnswer::Kind::UNKNOWN;
    answer.reason = broken;
  } else if (database.lastWasFull()) {
    answer.reason = kj::str(error, "; nothing was changed, free some there and try again").cStr();
  }
  return std::vector<CommitAnswer>(count, answer);
}

std::vector<CommitAnswer> LocalStore::commitTogether(kj::ArrayPtr<const PendingCommit> group) {
  beginWriting();
  Draft draft{summary, firstChange};
  std::vector<CommitAnswer> answers;
  for (auto& commit : group) answers.push_back(apply(commit, draft));
  if (draft.summary.state.revision == summary.state.revision) {
    database.rollback();  // all were refused
    return answers;
  }
  prune(draft);
  finish(draft);
  return answers;
}

CommitAnswer LocalStore::apply(const PendingCommit& commit, Draft& draft) {
  BatchReader reader(*commit.batch);
  auto batch = reader.get();
  auto& state = draft.summary.state;
  if (commit.epoch != state.epoch) {
    return refused(
        kj::str("the epoch is ", state.epoch, ", not ", commit.epoch, ": another one leads since")
            .cStr(),
        state.epoch);
  }
  if (auto at = tables->findBatch(viewOf(batch.getId()))) {
    return refused(
        kj::str("batch '", batch.getId(), "' was applied already, as revision ", *at).cStr(),
        state.epoch);
  }
  std::vector<std::optional<ObjectMark>> before;
  std::vector<std::string> conflicts;
  for (auto op : batch.getOps()) {
    before.push_back(tables->mark(viewOf(op.getKind()), viewOf(op.getKey())));
    if (holds(before.back(), op.getExpected())) continue;
    conflicts.push_back(kj::str(op.getKind(), "/", op.getKey()).cStr());
  }
  if (!conflicts.empty()) {
    auto answer = refused(
        kj::str("'", conflicts[0].c_str(), "'",
                conflicts.size() > 1 ? kj::str(" and ", conflicts.size() - 1, " more") : kj::str(),
                " changed since this was decided")
            .cStr(),
        state.epoch);
    answer.conflicts = kj::mv(conflicts);
    return answer;
  }
  ++state.revision;
  uint32_t i = 0;
  for (auto op : batch.getOps()) write(op, before[i++], draft);
  auto bytes = commit.batch->asBytes();
  tables->addChange(state.revision, viewOf(batch.getId()), bytes);
  draft.summary.changeBytes += bytes.size();
  if (draft.firstChange == 0) draft.firstChange = state.revision;
  CommitAnswer answer;
  answer.kind = CommitAnswer::Kind::COMMITTED;
  answer.revision = state.revision;
  return answer;
}

void LocalStore::write(schema::Op::Reader op, const std::optional<ObjectMark>& before,
                       Draft& draft) {
  auto& state = draft.summary.state;
  auto kind = viewOf(op.getKind());
  auto key = viewOf(op.getKey());
  if (before) {
    --state.objects;
    state.digest -= before->checksum;
  }
  if (op.isPut()) {
    ++state.objects;
    state.digest += tables->putObject(kind, key, state.revision, op.getPut());
  } else if (before) {
    tables->eraseObject(kind, key);
  }
}

CommitAnswer LocalStore::refused(std::string reason, uint64_t epoch) {
  CommitAnswer answer;
  answer.kind = CommitAnswer::Kind::REFUSED;
  answer.reason = kj::mv(reason);
  answer.epoch = epoch;
  return answer;
}

void LocalStore::prune(Draft& draft) {
  auto& changeBytes = draft.summary.changeBytes;
  uint64_t revision = draft.summary.state.revision;
  if (revision - draft.firstChange >= options.changeRecords + PRUNE_STEP) {
    uint64_t last = revision - options.changeRecords;
    changeBytes -= kj::min(changeBytes, tables->eraseChanges(last));
    draft.firstChange = last + 1;
  }
  if (changeBytes <= options.changeBytes) return;
  // An eighth at a time: each search passes over those that were dropped before.
  while (changeBytes > options.changeBytes / 8 * 7) {
    uint64_t bytes = tables->dropOldestContent();
    if (bytes == 0) break;
    changeBytes -= kj::min(changeBytes, bytes);
  }
}

void LocalStore::beginWriting() {
  detachLoads();
  stage = Stage::WRITING;
  database.clearFailure();
  begin->run();
}

void LocalStore::finish(const Draft& draft) {
  options.failPoint("commit-begins");
  tables->putSummary(draft.summary);
  stage = Stage::COMMITTING;
  end->run();
  options.failPoint("commit-written");
  summary = draft.summary;
  firstChange = draft.firstChange;
  ++syncCount;
}

void LocalStore::note() {
  if (!broken.empty() || isNoted()) return;
  auto outcome = attemptNow([&] { revisionFile->write(summary.state); });
  if (outcome.ok()) {
    options.failPoint("commit-noted");
  } else {
    breakOff(outcome.message());
  }
}

// After a sync that failed nobody knows what is on the disk (fsync(2) reports it once).
void LocalStore::breakOff(kj::StringPtr error) {
  broken = kj::str("the disk failed, so that nothing is known of what was written last: ", error,
                   "; see to the disk and start the plugin again")
               .cStr();
}

ElectAnswer LocalStore::elect(const std::string& candidate, uint64_t expectedEpoch,
                              uint64_t leastEpoch) {
  requireHealthy();
  if (summary.state.epoch != expectedEpoch) {
    return {false, summary.state.epoch, summary.leader};
  }
  auto outcome = attemptNow([&] {
    beginWriting();
    Draft draft{summary, firstChange};
    draft.summary.state.epoch = std::max(expectedEpoch + 1, leastEpoch);
    draft.summary.leader = candidate;
    finish(draft);
  });
  if (!outcome.ok()) {
    database.rollback();
    auto answers = explain(1, outcome.message());
    fail(kj::str("cannot make '", candidate.c_str(), "' the leader: ", answers[0].reason.c_str()));
  }
  // Whoever was leader is told by it, even if the end of the log is damaged some day.
  note();
  requireHealthy();
  return {true, summary.state.epoch, summary.leader};
}

std::optional<uint64_t> LocalStore::find(const std::string& batchId) {
  requireHealthy();
  return tables->findBatch(batchId);
}

uint64_t LocalStore::beginLoad() {
  requireHealthy();
  if (loads.size() >= MAX_LOADS) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many loads of one state at once"));
  }
  loads[nextLoad].at = summary;
  return nextLoad++;
}

LoadChunk LocalStore::load(uint64_t id) {
  auto& loading = loads.at(id);
  LoadChunk chunk;
  chunk.revision = loading.at.state.revision;
  chunk.epoch = loading.at.state.epoch;
  if (loading.detached) {
    uint64_t bytes = 0;
    while (!loading.rest.empty() && bytes < CHUNK_BYTES) {
      bytes += sizeof(ObjectRow) + loading.rest.front().value.size();
      chunk.rows.push_back(kj::mv(loading.rest.front()));
      loading.rest.pop_front();
    }
  } else {
    chunk.rows = tables->objectsAfter(loading.kind, loading.key, CHUNK_BYTES);
    if (!chunk.rows.empty()) {
      loading.kind = chunk.rows.back().kind;
      loading.key = chunk.rows.back().key;
    }
  }
  for (auto& row : chunk.rows) {
    if (!row.intact) failDamagedObject(options.directory, row, chunk.revision);
    ++loading.objects;
    loading.digest += row.checksum;
  }
  if (chunk.rows.empty() &&
      (loading.objects != loading.at.state.objects || loading.digest != loading.at.state.digest)) {
    failMissingObjects(options.directory, loading.at.state, loading.objects);
  }
  return chunk;
}

void LocalStore::endLoad(uint64_t id) { loads.erase(id); }

void LocalStore::detachLoads() {
  for (auto& [id, loading] : loads) {
    if (loading.detached) continue;
    auto kind = loading.kind, key = loading.key;
    for (;;) {
      auto rows = tables->objectsAfter(kind, key, CHUNK_BYTES);
      if (rows.empty()) break;
      kind = rows.back().kind;
      key = rows.back().key;
      for (auto& row : rows) loading.rest.push_back(kj::mv(row));
    }
    loading.detached = true;
  }
}

ChangesChunk LocalStore::changesAfter(uint64_t revision) {
  requireHealthy();
  ChangesChunk chunk;
  chunk.revision = summary.state.revision;
  if (revision == chunk.revision) return chunk;
  bool known = revision < chunk.revision && firstChange != 0 && revision + 1 >= firstChange;
  if (known) chunk.rows = tables->changesAfter(revision, CHUNK_BYTES);
  size_t usable = 0;
  while (usable < chunk.rows.size() && chunk.rows[usable].intact &&
         chunk.rows[usable].revision == revision + 1 + usable) {
    ++usable;
  }
  chunk.rows.resize(usable);
  chunk.gone = usable == 0;
  return chunk;
}

bool LocalStore::checkpointDue() const {
  return database.walFrames() >= pagesDue(options.logBytes);
}
bool LocalStore::checkpointOverdue() const {
  return database.walFrames() >= 4 * pagesDue(options.logBytes);
}
void LocalStore::checkpoint() {
  if (broken.empty()) database.checkpoint();
}

void LocalStore::close() {
  note();
  loads.clear();
  begin.reset();
  end.reset();
  tables.reset();
  revisionFile.reset();
  KJ_DEFER(lock.reset());
  if (broken.empty()) database.close();
}

void LocalStore::requireHealthy() {
  if (!broken.empty()) fail(kj::str(broken.c_str()));
}

}  // namespace orch::store::local
