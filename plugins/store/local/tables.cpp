#include "tables.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace orch::store::local {

namespace {

constexpr const char* DEFINITIONS[][2] = {
    {"batches", "CREATE UNIQUE INDEX batches ON changes (batch)"},
    {"changes",
     "CREATE TABLE changes (revision INTEGER PRIMARY KEY, batch TEXT NOT NULL, ops BLOB, "
     "checksum INTEGER NOT NULL)"},
    {"objects",
     "CREATE TABLE objects (kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, "
     "value BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID"},
    {"summary",
     "CREATE TABLE summary (id INTEGER PRIMARY KEY, format INTEGER NOT NULL, revision INTEGER "
     "NOT NULL, epoch INTEGER NOT NULL, objects INTEGER NOT NULL, digest INTEGER NOT NULL, "
     "changeBytes INTEGER NOT NULL, leader TEXT NOT NULL, checksum INTEGER NOT NULL)"},
};
constexpr uint64_t FORMAT = 1;

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t both[2] = {a, b};
  return XXH3_64bits(both, sizeof(both));
}
uint64_t textChecksum(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

uint64_t summaryChecksum(const Summary& summary) {
  uint64_t numbers[] = {FORMAT,
                        summary.state.revision,
                        summary.state.epoch,
                        summary.state.objects,
                        summary.state.digest,
                        summary.changeBytes};
  return XXH3_64bits_withSeed(numbers, sizeof(numbers), textChecksum(summary.leader));
}

uint64_t changeChecksum(uint64_t revision, kj::ArrayPtr<const kj::byte> ops) {
  return XXH3_64bits_withSeed(ops.begin(), ops.size(), revision);
}

std::string copy(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
}

}  // namespace

uint64_t checksumOf(const void* data, size_t size, uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t objectChecksum(std::string_view kind, std::string_view key, uint64_t revision,
                        kj::ArrayPtr<const kj::byte> value) {
  auto name = mix(textChecksum(kind), textChecksum(key));
  return XXH3_64bits_withSeed(value.begin(), value.size(), mix(name, revision));
}

void Tables::create(Database& database) {
  database.execute("BEGIN IMMEDIATE");
  // The index after its table.
  for (int i : {1, 0, 2, 3}) database.execute(DEFINITIONS[i][1]);
  Tables(database).putSummary(Summary());
  database.execute("COMMIT");
}

Tables::Definitions Tables::definitions(Database& database) {
  Statement statement(database, "SELECT name, sql FROM sqlite_schema ORDER BY name");
  size_t found = 0;
  while (statement.step()) {
    if (found == kj::size(DEFINITIONS) || statement.text(0) != DEFINITIONS[found][0] ||
        statement.text(1) != DEFINITIONS[found][1]) {
      statement.reset();
      return Definitions::FOREIGN;
    }
    ++found;
  }
  if (found == 0) return Definitions::EMPTY;
  return found == kj::size(DEFINITIONS) ? Definitions::OURS : Definitions::FOREIGN;
}

Tables::Tables(Database& database)
    : readSummary(database,
                  "SELECT format, revision, epoch, objects, digest, changeBytes, leader, checksum "
                  "FROM summary WHERE id = 1"),
      writeSummary(database, "INSERT OR REPLACE INTO summary VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)"),
      readMark(database, "SELECT revision, checksum FROM objects WHERE kind = ? AND key = ?"),
      writeObject(database, "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)"),
      deleteObject(database, "DELETE FROM objects WHERE kind = ? AND key = ?"),
      readObjects(database,
                  "SELECT kind, key, revision, value, checksum FROM objects "
                  "WHERE (kind, key) > (?, ?) ORDER BY kind, key"),
      writeChange(database, "INSERT INTO changes VALUES (?, ?, ?, ?)"),
      readChanges(database,
                  "SELECT revision, ops, checksum FROM changes WHERE revision > ? "
                  "ORDER BY revision"),
      readFirstChange(database, "SELECT revision FROM changes ORDER BY revision LIMIT 1"),
      readBatch(database, "SELECT revision FROM changes WHERE batch = ?"),
      sumChanges(database, "SELECT sum(length(ops)) FROM changes WHERE revision <= ?"),
      deleteChanges(database, "DELETE FROM changes WHERE revision <= ?"),
      readOldestContent(database,
                        "SELECT revision, length(ops) FROM changes WHERE ops IS NOT NULL "
                        "ORDER BY revision LIMIT 1"),
      dropContent(database, "UPDATE changes SET ops = NULL WHERE revision = ?") {}

std::optional<Summary> Tables::summary() {
  if (!readSummary.step()) return std::nullopt;
  Summary summary;
  uint64_t format = readSummary.integer(0);
  summary.state.revision = readSummary.integer(1);
  summary.state.epoch = readSummary.integer(2);
  summary.state.objects = readSummary.integer(3);
  summary.state.digest = readSummary.integer(4);
  summary.changeBytes = readSummary.integer(5);
  summary.leader = readSummary.text(6);
  uint64_t checksum = readSummary.integer(7);
  readSummary.reset();
  if (format != FORMAT || checksum != summaryChecksum(summary)) return std::nullopt;
  return summary;
}

void Tables::putSummary(const Summary& summary) {
  writeSummary.bind(1, FORMAT)
      .bind(2, summary.state.revision)
      .bind(3, summary.state.epoch)
      .bind(4, summary.state.objects)
      .bind(5, summary.state.digest)
      .bind(6, summary.changeBytes)
      .bind(7, summary.leader)
      .bind(8, summaryChecksum(summary))
      .run();
}

std::optional<ObjectMark> Tables::mark(std::string_view kind, std::string_view key) {
  if (!readMark.bind(1, kind).bind(2, key).step()) return std::nullopt;
  ObjectMark mark{readMark.integer(0), readMark.integer(1)};
  readMark.reset();
  return mark;
}

uint64_t Tables::putObject(std::string_view kind, std::string_view key, uint64_t revision,
                           kj::ArrayPtr<const kj::byte> value) {
  uint64_t checksum = objectChecksum(kind, key, revision, value);
  writeObject.bind(1, kind).bind(2, key).bind(3, revision).bind(4, value).bind(5, checksum).run();
  return checksum;
}

void Tables::eraseObject(std::string_view kind, std::string_view key) {
  deleteObject.bind(1, kind).bind(2, key).run();
}

std::vector<ObjectRow> Tables::objectsAfter(std::string_view kind, std::string_view key,
                                            uint64_t maxBytes) {
  std::vector<ObjectRow> rows;
  uint64_t bytes = 0;
  readObjects.bind(1, kind).bind(2, key);
  while (bytes < maxBytes && readObjects.step()) {
    ObjectRow row;
    row.kind = readObjects.text(0);
    row.key = readObjects.text(1);
    row.revision = readObjects.integer(2);
    auto value = readObjects.blob(3);
    row.checksum = readObjects.integer(4);
    row.intact = row.checksum == objectChecksum(row.kind, row.key, row.revision, value);
    row.value = copy(value);
    bytes += sizeof(ObjectRow) + row.kind.size() + row.key.size() + row.value.size();
    rows.push_back(std::move(row));
  }
  readObjects.reset();
  return rows;
}

void Tables::addChange(uint64_t revision, std::string_view batchId,
                       kj::ArrayPtr<const kj::byte> ops) {
  writeChange.bind(1, revision)
      .bind(2, batchId)
      .bind(3, ops)
      .bind(4, changeChecksum(revision, ops))
      .run();
}

std::vector<ChangeRow> Tables::changesAfter(uint64_t revision, uint64_t maxBytes) {
  std::vector<ChangeRow> rows;
  uint64_t bytes = 0;
  readChanges.bind(1, revision);
  while (bytes < maxBytes && readChanges.step()) {
    ChangeRow row;
    row.revision = readChanges.integer(0);
    auto ops = readChanges.blob(1);
    row.intact =
        !readChanges.isNull(1) && readChanges.integer(2) == changeChecksum(row.revision, ops);
    row.ops = copy(ops);
    bytes += sizeof(ChangeRow) + row.ops.size();
    rows.push_back(std::move(row));
  }
  readChanges.reset();
  return rows;
}

uint64_t Tables::firstChange() {
  uint64_t first = 0;
  if (readFirstChange.step()) first = readFirstChange.integer(0);
  readFirstChange.reset();
  return first;
}

std::optional<uint64_t> Tables::findBatch(std::string_view batchId) {
  if (!readBatch.bind(1, batchId).step()) return std::nullopt;
  uint64_t revision = readBatch.integer(0);
  readBatch.reset();
  return revision;
}

uint64_t Tables::eraseChanges(uint64_t revision) {
  uint64_t bytes = 0;
  if (sumChanges.bind(1, revision).step()) bytes = sumChanges.integer(0);
  sumChanges.reset();
  deleteChanges.bind(1, revision).run();
  return bytes;
}

uint64_t Tables::dropOldestContent() {
  if (!readOldestContent.step()) return 0;
  uint64_t revision = readOldestContent.integer(0);
  uint64_t bytes = readOldestContent.integer(1);
  readOldestContent.reset();
  dropContent.bind(1, revision).run();
  return bytes;
}

}  // namespace orch::store::local
