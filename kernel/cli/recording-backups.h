// For tests: the part of the recording cluster that nobody may lead, and that is backed up.
#pragma once

#include <string>

#include "orch/fail.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/segments/backup-file.h"

namespace orch::cli {

// A backup of one object.
inline std::string smallBackup() {
  std::string file;
  segments::BackupWriter writer(
      [&](kj::Array<kj::byte> bytes) { file.append(bytes.asChars().begin(), bytes.size()); });
  capnp::MallocMessageBuilder first, second;
  first.initRoot<schema::BackupEntry>().initBegins().setName("default");
  writer.add(first.getRoot<schema::BackupEntry>().asReader());
  second.initRoot<schema::BackupEntry>().initObject().setKind("cluster");
  writer.add(second.getRoot<schema::BackupEntry>().asReader());
  writer.finish();
  return file;
}

inline int64_t agoNs(int64_t seconds) { return (::time(nullptr) - seconds) * 1'000'000'000; }

// What a test wants of it, and what came of that.
struct BackupScript {
  bool unled = false;       // nobody leads
  bool tornBackup = false;  // the end of one is missing
  std::string restored;     // what was sent
  std::string asked;        // for the last restore, or force
};

class RecordingBackups : public schema::ClusterControl::Server {
 public:
  BackupScript* script = nullptr;

  kj::Promise<void> age(AgeContext context) override {
    if (!script->unled) return kj::READY_NOW;
    context.getResults().setAsOfNs(agoNs(12));
    context.getResults().setReason("the store 'store.etcd' does not answer");
    return kj::READY_NOW;
  }
  kj::Promise<void> status(StatusContext context) override {
    auto status = context.getResults().initStatus();
    status.setCluster("default");
    status.setNode("n2");
    status.setEpoch(3);
    auto managers = status.initManagers(2);
    for (uint32_t i = 0; i < 2; ++i) {
      managers[i].setName(i == 0 ? "n1" : "n2");
      managers[i].setAddress(i == 0 ? "10.0.0.1:2377" : "10.0.0.2:2377");
      managers[i].setReach(schema::ManagerStatus::Reach::REACHABLE);
    }
    auto store = status.initStore();
    store.setName("store.etcd");
    store.setShared(true);
    status.setObjects(7);
    status.setBytes(4200);
    status.setRevision(99);
    if (script->unled) {
      status.setProblem("the store 'store.etcd' does not answer");
      status.setAsOfNs(agoNs(12));
      managers[0].setReach(schema::ManagerStatus::Reach::UNREACHABLE);
      managers[0].setReason("no answer");
      store.setProblem("etcd at http://10.0.0.1:2379 does not answer");
      return kj::READY_NOW;
    }
    status.setRole("follower");
    status.setLeader("n1");
    status.setCanLose(1);
    managers[0].setReach(schema::ManagerStatus::Reach::LEADER);
    managers[1].setBehindMs(4);
    store.setLatencyUs(1200);
    return kj::READY_NOW;
  }
  kj::Promise<void> backup(BackupContext context) override {
    auto file = smallBackup();
    if (script->tornBackup) file.pop_back();
    auto summary = context.getResults().initSummary();
    summary.setName("default");
    summary.setObjects(1);
    summary.setSecrets(true);
    auto request = context.getParams().getSink().writeRequest();
    request.setBytes(kj::arrayPtr(file.data(), file.size()).asBytes());
    return request.send().ignoreResult();
  }
  kj::Promise<void> restore(RestoreContext context) override {
    script->asked = std::string("restore ") + context.getParams().getAddress().cStr();
    context.getResults().setUpload(kj::heap<Upload>(*script));
    return kj::READY_NOW;
  }
  kj::Promise<void> forceNew(ForceNewContext context) override {
    script->asked = "forceNew";
    auto results = context.getResults();
    results.setStore("store.local");
    results.setAsOfNs(agoNs(12));
    results.initRemoved(1).set(0, "n1");
    return kj::READY_NOW;
  }

 private:
  class Upload final : public schema::BackupUpload::Server {
   public:
    explicit Upload(BackupScript& script) : script(script) {}
    kj::Promise<void> write(WriteContext context) override {
      auto bytes = context.getParams().getBytes();
      script.restored.append(bytes.asChars().begin(), bytes.size());
      return kj::READY_NOW;
    }
    kj::Promise<void> finish(FinishContext context) override {
      auto summary = context.getResults().initSummary();
      summary.setName("default");
      summary.setObjects(1);
      context.getResults().setAddress("10.0.0.2:2377");
      return kj::READY_NOW;
    }

   private:
    BackupScript& script;
  };
};

}  // namespace orch::cli
