// What the database holds and how: the tables, their checksums and the statements on them. Decides
// nothing.
#pragma once

#include <kj/common.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "revision-file.h"
#include "sqlite.h"

namespace orch::store::local {

// 64 bits of XXH3: against damage, not against forgery.
uint64_t checksumOf(const void* data, size_t size, uint64_t seed = 0);
uint64_t objectChecksum(std::string_view kind, std::string_view key, uint64_t revision,
                        kj::ArrayPtr<const kj::byte> value);

// The one row that says what the rest adds up to.
struct Summary {
  Acknowledged state;
  uint64_t changeBytes = 0;  // of the change records that still have their content
  std::string leader;
};

struct ObjectMark {
  uint64_t revision = 0;
  uint64_t checksum = 0;  // as stored
};

struct ObjectRow {
  std::string kind;
  std::string key;
  uint64_t revision = 0;
  std::string value;
  bool intact = false;
  uint64_t checksum = 0;  // as stored
};

struct ChangeRow {
  uint64_t revision = 0;
  std::string ops;      // a flat message with a schema::Batch
  bool intact = false;  // false also if its content was dropped
};

class Tables final {
 public:
  // In an empty database: everything, and a summary of nothing.
  static void create(Database& database);
  // Whether the definitions are exactly those of `create`; a flipped bit in one can change what a
  // statement means. Empty: none at all, as in a file that was just made.
  enum class Definitions { EMPTY, OURS, FOREIGN };
  static Definitions definitions(Database& database);

  explicit Tables(Database& database);

  // Nothing if the row is missing or damaged.
  std::optional<Summary> summary();
  void putSummary(const Summary& summary);

  std::optional<ObjectMark> mark(std::string_view kind, std::string_view key);
  // Answers the checksum that was stored.
  uint64_t putObject(std::string_view kind, std::string_view key, uint64_t revision,
                     kj::ArrayPtr<const kj::byte> value);
  void eraseObject(std::string_view kind, std::string_view key);
  // The objects behind this one in order of kind and key, until `maxBytes` are reached; none if
  // there are no more. The first ones: behind "" and "".
  std::vector<ObjectRow> objectsAfter(std::string_view kind, std::string_view key,
                                      uint64_t maxBytes);

  void addChange(uint64_t revision, std::string_view batchId, kj::ArrayPtr<const kj::byte> ops);
  std::vector<ChangeRow> changesAfter(uint64_t revision, uint64_t maxBytes);
  // The number of the oldest record; 0 if there is none.
  uint64_t firstChange();
  // The revision at which a batch was applied.
  std::optional<uint64_t> findBatch(std::string_view batchId);
  // Forgets records up to and with `revision`; answers the bytes of content that went with them.
  uint64_t eraseChanges(uint64_t revision);
  // Drops the content of the oldest record that has some; answers its size, 0 if none has.
  uint64_t dropOldestContent();

 private:
  Statement readSummary, writeSummary, readMark, writeObject, deleteObject, readObjects;
  Statement writeChange, readChanges, readFirstChange, readBatch, sumChanges, deleteChanges;
  Statement readOldestContent, dropContent;
};

}  // namespace orch::store::local
