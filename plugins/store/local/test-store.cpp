#include "test-store.h"

#include <capnp/message.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace orch::store::local {

schema::Plugin::Client newModuleInstance(Env& env) {
  auto program = std::filesystem::read_symlink("/proc/self/exe");
  auto module = program.parent_path().parent_path() / "lib/orch/plugins/store.local.so";
  void* opened = dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
  KJ_REQUIRE(opened != nullptr, dlerror());
  using Create = void (*)(Env&, schema::Plugin::Client*);
  auto create = reinterpret_cast<Create>(dlsym(opened, "orch_plugin_create"));
  KJ_REQUIRE(create != nullptr, dlerror());
  schema::Plugin::Client client = nullptr;
  create(env, &client);
  return client;
}

PendingCommit pending(const std::string& batchId, const std::vector<TestOp>& ops, uint64_t epoch) {
  capnp::MallocMessageBuilder message;
  auto batch = message.initRoot<schema::Batch>();
  batch.setId(batchId.c_str());
  auto list = batch.initOps(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    list[i].setKind("task");
    list[i].setKey(ops[i].key.c_str());
    list[i].setExpected(ops[i].expected);
    if (ops[i].value) {
      list[i].setPut(kj::arrayPtr(ops[i].value->data(), ops[i].value->size()).asBytes());
    } else {
      list[i].setDelete();
    }
  }
  return {flatten(batch, BatchLimits()), epoch};
}

uint64_t commitOne(LocalStore& store, const std::string& batchId, const std::vector<TestOp>& ops) {
  auto commit = pending(batchId, ops);
  auto answer = store.commit(kj::arrayPtr(&commit, 1))[0];
  KJ_REQUIRE(answer.kind == CommitAnswer::Kind::COMMITTED, answer.reason.c_str());
  return answer.revision;
}

std::string dump(LocalStore& store) {
  std::ostringstream text;
  auto id = store.beginLoad();
  KJ_DEFER(store.endLoad(id));
  for (;;) {
    auto chunk = store.load(id);
    if (chunk.rows.empty()) {
      text << "revision " << chunk.revision << " epoch " << chunk.epoch;
      return text.str();
    }
    for (auto& row : chunk.rows) {
      text << row.kind << "/" << row.key << "@" << row.revision << "=" << row.value << "\n";
    }
  }
}

StoreOptions smallState(kj::StringPtr directory) {
  StoreOptions options;
  options.directory = directory.cStr();
  options.changeRecords = 1000;
  options.logBytes = 0;
  return options;
}

std::string readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void writeFile(const std::string& path, const std::string& bytes) {
  // In place: ext4 syncs a file that is truncated and written anew.
  kj::AutoCloseFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  KJ_REQUIRE(fd.get() >= 0, "cannot open", path.c_str());
  KJ_REQUIRE(pwrite(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  KJ_SYSCALL(ftruncate(fd, bytes.size()));
}

void copyState(const std::string& from, const std::string& to) {
  std::filesystem::create_directories(to);
  for (const char* name : {"state.db", "state.db-wal", "revision"}) {
    writeFile(to + "/" + name, readFile(from + "/" + name));
  }
}

}  // namespace orch::store::local
