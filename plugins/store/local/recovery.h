// What has to hold before a state is used, and what an operator who accepts a loss gets.
#pragma once

#include <string>
#include <vector>

#include "revision-file.h"
#include "sqlite.h"
#include "tables.h"

namespace orch::store::local {

// Something to log: a stable id and a sentence.
struct Note {
  std::string id;
  std::string text;
};

std::string databasePath(const std::string& directory);
std::string revisionPath(const std::string& directory);

// The steps of an opening, in order. Each throws FAILED with what is wrong, where, and how to
// recover; a state that is refused is left as it was found. Not before the last step has passed is
// anything repaired.

// Refuses a database that is gone or empty though something was acknowledged.
void checkFiles(const std::string& directory);
// Its structure and its definitions. Makes the tables of a new one.
void checkDatabase(Database& database);
// The summary that the state goes on with, measured against the revision file, which is made if the
// state is new. `acceptLoss` is as in the settings. What was repaired is added to `notes`.
Summary checkState(const std::string& directory, Database& database, Tables& tables,
                   uint64_t acceptLoss, std::vector<Note>& notes);

// For an object that load() finds damaged, and for a sum that does not come out.
[[noreturn]] void failDamagedObject(const std::string& directory, const ObjectRow& row,
                                    uint64_t revision);
[[noreturn]] void failMissingObjects(const std::string& directory, const Acknowledged& expected,
                                     uint64_t found);

}  // namespace orch::store::local
