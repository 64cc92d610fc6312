// Files and folders of the runtime, with errors that a user can read. All of it blocks: for worker
// threads, but for what is on the run folder's tmpfs or in /proc.
#pragma once

#include <kj/common.h>
#include <kj/string.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "orch/durable-file.h"

namespace orch::runtime {

inline constexpr size_t MAX_FILE_BYTES = 1 << 20;  // of a file that is read whole
// The whole text; null if there is no such file. Fails on every other error: a file that cannot be
// read is not one that is missing.
kj::Maybe<kj::String> readIfThere(const std::string& path);
bool exists(const std::string& path);
// Names of the entries but `.` and `..`, sorted; none if the folder is missing.
std::vector<std::string> entriesOf(const std::string& folder);

// One that exists stays as it is.
void makeFolder(const std::string& path, mode_t mode = 0711);
// With those above it, 0711 as well.
void makeFolders(const std::string& path);
// To a file that nobody reads yet.
void writeNew(const std::string& path, kj::ArrayPtr<const kj::byte> bytes);

}  // namespace orch::runtime
