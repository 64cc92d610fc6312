// For the tests beside it: the module as a node loads it, and a state that is opened bare.
#pragma once

#include <string>
#include <vector>

#include "config.capnp.h"
#include "local-store.h"
#include "orch/plugin.h"

namespace orch::store::local {

// A new instance of the module in this build. The module stays loaded.
schema::Plugin::Client newModuleInstance(Env& env);

// An object as a batch puts it; no value: it is deleted.
struct TestOp {
  std::string key;
  uint64_t expected = 0;
  std::optional<std::string> value;
};
PendingCommit pending(const std::string& batchId, const std::vector<TestOp>& ops,
                      uint64_t epoch = 0);
// Fails the test unless it is committed; the revision.
uint64_t commitOne(LocalStore& store, const std::string& batchId, const std::vector<TestOp>& ops);
// Every object and the revision as a text, through load().
std::string dump(LocalStore& store);
// Options for a small state.
StoreOptions smallState(kj::StringPtr directory);

// A state as files: what a crash leaves, or a copy to damage.
std::string readFile(const std::string& path);
void writeFile(const std::string& path, const std::string& bytes);
// The three files, as they are now.
void copyState(const std::string& from, const std::string& to);

}  // namespace orch::store::local
