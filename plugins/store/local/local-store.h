// The state of one store on the disk: what is acknowledged is in the database, and how far that
// came is noted in the revision file. Blocks; used by one thread at a time (CommitQueue sees to
// that), throws FAILED with texts for users.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "folder-lock.h"
#include "lib/answers.h"
#include "lib/batch.h"
#include "orch/schema/store.capnp.h"
#include "recovery.h"

namespace orch::store::local {

struct StoreOptions {
  std::string directory;  // absolute
  uint64_t changeRecords = 10'000;
  uint64_t changeBytes = 64 << 20;
  uint64_t acceptLoss = 0;
  uint64_t logBytes = 4 << 20;  // reserved for the write-ahead log
  // Told of each commit that it begins, is on the disk, and is noted (Env::failPoint).
  std::function<void(kj::StringPtr)> failPoint = [](kj::StringPtr) {};
};

struct PendingCommit {
  FlatBatch batch;
  uint64_t epoch = 0;
};

struct LoadChunk {
  std::vector<ObjectRow> rows;  // empty: that was all
  uint64_t revision = 0;
  uint64_t epoch = 0;
};

struct ChangesChunk {
  bool gone = false;      // the next record is no longer there, or damaged
  uint64_t revision = 0;  // the store's
  std::vector<ChangeRow> rows;
};

class LocalStore final {
 public:
  static constexpr size_t MAX_LOADS = 16;

  // Opens, checks and if need be repairs. See recovery.h for what it refuses.
  explicit LocalStore(StoreOptions options);
  ~LocalStore() noexcept;
  KJ_DISALLOW_COPY(LocalStore);

  // What was repaired while it was opened. To be logged.
  const std::vector<Note>& notes() const { return repaired; }
  uint64_t revision() const { return summary.state.revision; }
  // How often something was made durable since it was opened.
  uint64_t syncs() const { return syncCount; }

  // One transaction and one sync for all of them; an answer for each. One that is
  // refused changes nothing and does not hurt the others.
  std::vector<CommitAnswer> commit(kj::ArrayPtr<const PendingCommit> group);
  // Writes into the revision file what was acknowledged, if it is not there yet. What comes after
  // the last note is on the disk, too; but if the end of the log is damaged, nobody sees that it
  // is missing. To be called soon after commits; elect() and close() do it themselves.
  void note();
  bool isNoted() const { return revisionFile->last() == summary.state; }
  ElectAnswer elect(const std::string& candidate, uint64_t expectedEpoch, uint64_t leastEpoch = 0);
  std::optional<uint64_t> find(const std::string& batchId);

  // A load shows the state of the moment in which it began, whatever is committed meanwhile: what
  // it has not read by the next commit is kept in memory. It must be ended.
  uint64_t beginLoad();
  // The next objects, about 256 KiB. Throws at the first damaged one.
  LoadChunk load(uint64_t id);
  void endLoad(uint64_t id);

  // The next records, about 256 KiB, at least one if there are any.
  ChangesChunk changesAfter(uint64_t revision);

  // Whether the log should be moved into the database soon, or before the next commit.
  bool checkpointDue() const;
  bool checkpointOverdue() const;
  void checkpoint();
  // Leaves the files tidy and the folder to others. Nothing else may be called afterwards.
  void close();

 private:
  struct Loading {
    Summary at;
    std::string kind, key;  // of the last object that was read
    uint64_t objects = 0;
    uint64_t digest = 0;
    bool detached = false;  // everything is in `rest`
    std::deque<ObjectRow> rest;
  };
  // What a transaction will have made of the state.
  struct Draft {
    Summary summary;
    uint64_t firstChange = 0;
  };
  enum class Stage { WRITING, COMMITTING };

  std::vector<CommitAnswer> commitTogether(kj::ArrayPtr<const PendingCommit> group);
  std::vector<CommitAnswer> explain(size_t count, kj::StringPtr error);
  CommitAnswer apply(const PendingCommit& commit, Draft& draft);
  void write(schema::Op::Reader op, const std::optional<ObjectMark>& before, Draft& draft);
  CommitAnswer refused(std::string reason, uint64_t epoch);
  void prune(Draft& draft);
  void beginWriting();
  // Ends the transaction and makes the draft what is acknowledged.
  void finish(const Draft& draft);
  void breakOff(kj::StringPtr error);
  void detachLoads();
  void requireHealthy();

  StoreOptions options;
  std::optional<FolderLock> lock;  // none once it is closed
  Database database;
  std::optional<Tables> tables;
  std::optional<Statement> begin, end;
  std::vector<Note> repaired;
  Summary summary;
  uint64_t firstChange = 0;  // revision of the oldest record, 0 if there is none
  std::optional<RevisionFile> revisionFile;
  std::map<uint64_t, Loading> loads;
  uint64_t nextLoad = 1;
  uint64_t syncCount = 0;
  Stage stage = Stage::WRITING;  // how far the last transaction came
  std::string broken;            // why nothing can be done until the state is opened again
};

}  // namespace orch::store::local
