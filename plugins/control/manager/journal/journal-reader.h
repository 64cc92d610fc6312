// Reads a journal's entries, the oldest first, some at a time.
#pragma once

#include <kj/filesystem.h>

#include <vector>

#include "config.capnp.h"
#include "orch/env.h"
#include "orch/segments/frames.h"

namespace orch::control::manager {

class JournalReader final {
 public:
  JournalReader(Env& env, const kj::Path& folder) : env(env), folder(folder.clone()) {}
  KJ_DISALLOW_COPY(JournalReader);

  // Messages with a JournalEntry each, of at most one file; none: there are no more. What is
  // damaged, as the torn end of a file, is passed over.
  Task<std::vector<segments::MessageWords>> next();

 private:
  Env& env;
  const kj::Path folder;
  uint64_t segment = 0;
  uint64_t offset = 0;
};

}  // namespace orch::control::manager
