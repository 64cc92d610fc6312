// usage: orch_store_local_crasher FOLDER
// Commits until it is killed and prints each acknowledged revision, one a line. Every batch counts
// one object up and makes another, so that what is missing shows.
#include <capnp/message.h>
#include <unistd.h>

#include <cstdio>

#include "local-store.h"

namespace {

using orch::store::BatchLimits;
using orch::store::local::LocalStore;
using orch::store::local::PendingCommit;

void put(orch::schema::Op::Builder op, const std::string& key, uint64_t expected,
         const std::string& value) {
  op.setKind("crash");
  op.setKey(key.c_str());
  op.setExpected(expected);
  op.setPut(kj::arrayPtr(value.data(), value.size()).asBytes());
}

PendingCommit batchAfter(uint64_t revision) {
  capnp::MallocMessageBuilder message;
  auto batch = message.initRoot<orch::schema::Batch>();
  uint64_t next = revision + 1;
  batch.setId(("batch-" + std::to_string(next)).c_str());
  auto ops = batch.initOps(revision == 0 ? 1 : 2);
  put(ops[0], "counter", revision, std::to_string(next));
  if (revision > 0) {
    put(ops[1], "object-" + std::to_string(next), 0, std::string(next * 37 % 3000, 'x'));
  }
  return {orch::store::flatten(batch, BatchLimits()), 0};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  orch::store::local::StoreOptions options;
  options.directory = argv[1];
  options.changeRecords = 1000;
  options.logBytes = 128 << 10;
  LocalStore store(options);
  for (;;) {
    auto commit = batchAfter(store.revision());
    auto answer = store.commit(kj::arrayPtr(&commit, 1))[0];
    if (answer.kind != orch::store::CommitAnswer::Kind::COMMITTED) {
      fprintf(stderr, "%s\n", answer.reason.c_str());
      return 1;
    }
    auto line = std::to_string(answer.revision) + "\n";
    if (write(STDOUT_FILENO, line.data(), line.size()) < 0) return 1;
    if (answer.revision % 4 == 0) store.note();
    if (store.checkpointDue()) store.checkpoint();
  }
}
