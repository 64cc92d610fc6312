#include "recovery.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>

#include "orch/fail.h"

namespace orch::store::local {

namespace {

constexpr uint64_t SCAN_BYTES = 256 << 10;

kj::String remedy(const std::string& directory, uint64_t revision) {
  return kj::str("; restore '", directory.c_str(),
                 "' from a backup, or go on with what is left by setting acceptLoss = ", revision);
}

bool exists(const std::string& path) {
  struct stat found;
  return stat(path.c_str(), &found) == 0;
}

// Why the database is not what was acknowledged; empty if it is.
kj::String problemOf(const std::string& directory, const std::optional<Summary>& summary,
                     const std::optional<Acknowledged>& last) {
  auto database = databasePath(directory);
  if (!last) return kj::str("'", revisionPath(directory).c_str(), "' is missing or damaged");
  if (!summary) return kj::str("the summary in '", database.c_str(), "' is damaged");
  auto& state = summary->state;
  if (state.revision < last->revision || state.epoch < last->epoch) {
    return kj::str("'", database.c_str(), "' is at revision ", state.revision, " (epoch ",
                   state.epoch, "), but revision ", last->revision, " (epoch ", last->epoch,
                   ") was acknowledged: what came after is lost");
  }
  if (state.revision == last->revision && state.epoch == last->epoch && state != *last) {
    return kj::str("'", database.c_str(), "' does not add up to what was acknowledged at revision ",
                   last->revision);
  }
  return nullptr;
}

struct Intact {
  uint64_t objects = 0;
  uint64_t digest = 0;
  std::vector<ObjectRow> damaged;
};

Intact scan(Tables& tables) {
  Intact intact;
  std::string kind, key;
  for (;;) {
    auto rows = tables.objectsAfter(kind, key, SCAN_BYTES);
    if (rows.empty()) return intact;
    for (auto& row : rows) {
      if (row.intact) {
        ++intact.objects;
        intact.digest += row.checksum;
      } else {
        intact.damaged.push_back(row);
      }
    }
    kind = rows.back().kind;
    key = rows.back().key;
  }
}

// Goes on with what is intact, at a revision that nobody has seen. Changes are forgotten, so that
// every follower reads the whole state again.
Summary acceptState(const std::string& directory, Database& database, Tables& tables,
                    const std::optional<Summary>& found, const std::optional<Acknowledged>& last,
                    const Intact& intact, std::vector<Note>& notes) {
  Summary summary = found.value_or(Summary());
  auto acknowledged = last.value_or(Acknowledged());
  summary.state.revision = kj::max(summary.state.revision, acknowledged.revision) + 1;
  summary.state.epoch = kj::max(summary.state.epoch, acknowledged.epoch);
  summary.state.objects = intact.objects;
  summary.state.digest = intact.digest;
  summary.changeBytes = 0;
  database.execute("BEGIN IMMEDIATE");
  for (auto& row : intact.damaged) {
    tables.eraseObject(row.kind, row.key);
    notes.push_back({"store.object-dropped", row.kind + "/" + row.key});
  }
  tables.eraseChanges(summary.state.revision);
  tables.putSummary(summary);
  database.execute("COMMIT");
  RevisionFile::create(revisionPath(directory), summary.state);
  notes.push_back({"store.loss-accepted", kj::str("the state goes on with ", intact.objects,
                                                  " objects at revision ", summary.state.revision)
                                              .cStr()});
  return summary;
}

}  // namespace

std::string databasePath(const std::string& directory) { return directory + "/state.db"; }
std::string revisionPath(const std::string& directory) { return directory + "/revision"; }

void checkFiles(const std::string& directory) {
  auto path = databasePath(directory);
  struct stat found;
  bool empty = stat(path.c_str(), &found) != 0 || found.st_size == 0;
  if (!empty || !exists(revisionPath(directory))) return;
  auto last = RevisionFile(revisionPath(directory)).last();
  if (last && *last == Acknowledged()) return;
  // SQLite would take it for a new one and delete the log, from which it could be rebuilt.
  fail(kj::str("'", path.c_str(), "' is missing or empty, but revision ",
               last ? kj::str(last->revision) : kj::str("?"), " was acknowledged; restore '",
               directory.c_str(), "' from a backup, or move it away to begin with nothing"));
}

void checkDatabase(Database& database) {
  auto verdict = database.ask("PRAGMA integrity_check(1)");
  if (verdict != "ok") {
    verdict = verdict.substr(verdict.rfind('\n') + 1);  // under a heading
    fail(kj::str("'", database.path().c_str(), "' is damaged (", verdict.c_str(),
                 "); restore the folder from a backup, or see the README of store.local"));
  }
  // A damaged header can make it read-only, which nobody would notice before the first commit.
  database.execute("BEGIN IMMEDIATE");
  database.execute("ROLLBACK");
  switch (Tables::definitions(database)) {
    case Tables::Definitions::OURS:
      return;
    case Tables::Definitions::EMPTY:
      return Tables::create(database);
    case Tables::Definitions::FOREIGN:
      fail(kj::str("'", database.path().c_str(),
                   "' is damaged or not a state of this version of store.local; restore the "
                   "folder from a backup, or set another `directory`"));
  }
}

Summary checkState(const std::string& directory, Database& database, Tables& tables,
                   uint64_t acceptLoss, std::vector<Note>& notes) {
  auto path = revisionPath(directory);
  auto summary = tables.summary();
  if (!exists(path) && summary && summary->state == Acknowledged()) {
    RevisionFile::create(path, Acknowledged());
  }
  std::optional<Acknowledged> last;
  if (exists(path)) last = RevisionFile(path).last();
  if (!summary && !last) {
    fail(kj::str("'", databasePath(directory).c_str(), "' and '", path.c_str(),
                 "' are both damaged; restore '", directory.c_str(), "' from a backup"));
  }
  uint64_t revision = summary ? summary->state.revision : last->revision;
  auto problem = problemOf(directory, summary, last);
  if (acceptLoss != 0 && acceptLoss == revision) {
    auto intact = scan(tables);
    bool complete = problem.size() == 0 && intact.damaged.empty() &&
                    intact.objects == summary->state.objects &&
                    intact.digest == summary->state.digest;
    if (!complete) return acceptState(directory, database, tables, summary, last, intact, notes);
  }
  if (problem.size() > 0) fail(kj::str(problem, remedy(directory, revision)));

  RevisionFile file(path);
  if (file.oneSlotDamaged()) {
    notes.push_back({"store.revision-file-repaired", path});
    file.write(summary->state);
  } else if (summary->state != *last) {
    file.write(summary->state);  // a crash came between the two writes of a commit
  }
  return *summary;
}

void failDamagedObject(const std::string& directory, const ObjectRow& row, uint64_t revision) {
  fail(kj::str("object '", row.kind.c_str(), "/", row.key.c_str(), "' in '",
               databasePath(directory).c_str(), "' is damaged: its checksum is wrong",
               remedy(directory, revision)));
}

void failMissingObjects(const std::string& directory, const Acknowledged& expected,
                        uint64_t found) {
  fail(kj::str("'", databasePath(directory).c_str(), "' is damaged: of the ", expected.objects,
               " objects at revision ", expected.revision, ", ", found,
               " were read and their checksums do not add up",
               remedy(directory, expected.revision)));
}

}  // namespace orch::store::local
