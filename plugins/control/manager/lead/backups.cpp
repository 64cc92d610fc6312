#include "lead/backups.h"

#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

constexpr uint64_t MOST_BYTES = 4ull << 30;  // of a backup, as it is sent

template <typename F>
void addEntry(segments::BackupWriter& writer, F&& fill) {
  capnp::MallocMessageBuilder message;
  fill(message.initRoot<schema::BackupEntry>());
  writer.add(message.getRoot<schema::BackupEntry>().asReader());
}

}  // namespace

Task<Backups::Moment> Backups::collect(std::vector<Record>& records) {
  if (leadership.isOld()) {
    // What was known last is all that there is.
    if (manager.state().all(Kind::CLUSTER).empty()) fail(kj::str(leadership.whyNobody()));
    records = recordsOf(manager.state());
    co_return Moment{manager.state().revision, leadership.asOfNs()};
  }
  auto atNs = env.nowNs();
  auto loaded = co_await leadership.currentStore().load([&](schema::StoredObject::Reader object) {
    records.push_back({object.getKind().cStr(), object.getKey().cStr(),
                       kj::heapArray<kj::byte>(object.getValue())});
  });
  co_return Moment{loaded.revision, atNs};
}

// Another one may have taken its place since that state, or in it, and this manager not know yet.
std::string Backups::authorityFor(schema::Cluster::Reader cluster) const {
  if (cluster.getAuthority().size() == 0) return {};
  KJ_IF_MAYBE (secret, members.authoritySecretOf(cluster)) return *secret;
  fail(
      kj::str("this manager has not got the cluster's authority yet, without which a backup could "
              "not be restored; ask again, or the leader"));
}

void Backups::addSecrets(segments::BackupWriter& writer, const std::string& authority,
                         bool& secrets) const {
  if (!authority.empty()) {
    addEntry(writer, [&](auto entry) { entry.setAuthority(authority.c_str()); });
    secrets = true;
  }
  auto key = logins.ownKey();
  if (key.size() > 0) {
    addEntry(writer, [&](auto entry) { entry.setLoginKey(key); });
    secrets = true;
  }
}

Task<void> Backups::backup(BackupContext context) {
  co_await leadership.readable();
  std::vector<Record> records;
  auto moment = co_await collect(records);
  std::vector<kj::Array<kj::byte>> file;
  segments::BackupWriter writer([&](kj::Array<kj::byte> bytes) { file.push_back(kj::mv(bytes)); });
  std::string id, name, authority;
  for (auto& record : records) {
    if (record.kind != "cluster") continue;
    State state;
    takeRecord(state, "cluster", record.key.c_str(), record.value, 1);
    auto cluster = state.find(Kind::CLUSTER, record.key)->as<schema::Cluster>();
    id = record.key;
    name = text(cluster.getName());
    authority = authorityFor(cluster);
  }
  if (id.empty()) fail(kj::str("there is no cluster yet; see 'orch init'"));
  addEntry(writer, [&](schema::BackupEntry::Builder entry) {
    auto begins = entry.initBegins();
    begins.setCluster(id.c_str());
    begins.setName(name.c_str());
    begins.setAtNs(moment.atNs);
    begins.setRevision(moment.revision);
    begins.setEpoch(leadership.knownEpoch());
    begins.setVersion(ORCH_VERSION);
  });
  bool secrets = false;
  addSecrets(writer, authority, secrets);
  auto sink = context.getParams().getSink();
  size_t sent = 0;
  // Each part goes as soon as it is there: of a large state little lies in memory twice.
  for (auto& record : records) {
    addEntry(writer, [&](schema::BackupEntry::Builder entry) {
      auto object = entry.initObject();
      object.setKind(record.kind.c_str());
      object.setKey(record.key.c_str());
      object.setValue(record.value);
    });
    record.value = nullptr;
    bool last = &record == &records.back();
    if (last) writer.finish();
    while (sent < file.size()) {
      auto request = sink.writeRequest();
      request.setBytes(file[sent]);
      file[sent++] = nullptr;
      co_await request.send().ignoreResult();
    }
  }
  auto summary = context.getResults().initSummary();
  summary.setCluster(id.c_str());
  summary.setName(name.c_str());
  summary.setAtNs(moment.atNs);
  summary.setObjects(writer.objects());
  summary.setSecrets(secrets);
}

void Backups::checkRestore() const {
  if (members.isMember()) {
    fail(
        kj::str("this host is a node of a cluster already; 'orch leave --force' first, if what it "
                "has may be lost"));
  }
  leadership.requireLead();
  if (!manager.state().all(Kind::SERVICE).empty()) {
    fail(
        kj::str("this host runs services of its own cluster; remove them first: 'orch service ls' "
                "lists them"));
  }
  if (members.isShared()) {
    fail(kj::str("the store '", leadership.storeName(),
                 "' is one that other hosts reach as well; restore to 'store.local', then "
                 "'orch cluster migrate' moves the state"));
  }
}

// Takes the file in, and changes nothing before all of it was seen to be right.
class Backups::Upload final : public schema::BackupUpload::Server {
 public:
  Upload(kj::Own<kj::Refcounted> owner, Backups& backups, kj::StringPtr address)
      : owner(kj::mv(owner)), backups(backups), address(kj::str(address)) {}

  kj::Promise<void> write(WriteContext context) override {
    auto bytes = context.getParams().getBytes();
    received += bytes.size();
    if (received > MOST_BYTES) fail(kj::str("the backup is too large to be one"));
    reader.write(bytes);
    return kj::READY_NOW;
  }
  kj::Promise<void> finish(FinishContext context) override { return doFinish(context); }

 private:
  void take(schema::BackupEntry::Reader entry) {
    if (entry.isBegins()) {
      auto begins = entry.getBegins();
      restored.cluster = begins.getCluster().cStr();
      restored.name = begins.getName().cStr();
      restored.atNs = begins.getAtNs();
      restored.epoch = begins.getEpoch();
    } else if (entry.isObject()) {
      auto object = entry.getObject();
      restored.records.push_back({object.getKind().cStr(), object.getKey().cStr(),
                                  kj::heapArray<kj::byte>(object.getValue())});
    } else if (entry.isAuthority()) {
      restored.authority = entry.getAuthority().cStr();
    } else if (entry.isLoginKey()) {
      restored.loginKey = kj::heapArray<kj::byte>(entry.getLoginKey());
    } else {
      fail(kj::str("it has something that this version of orch does not know"));
    }
  }

  Task<void> doFinish(FinishContext context) {
    reader.finish();
    backups.checkRestore();
    restored.check();
    auto others = co_await backups.members.addressFor(kj::str(address));
    bool opens = !restored.authority.empty() && others.size() > 0;
    if (restored.loginKey.size() > 0) co_await backups.logins.takeKey(kj::mv(restored.loginKey));
    if (!restored.authority.empty()) {
      co_await backups.members.restoreAuthority(restored.authority);
    }
    auto summary = context.getResults().initSummary();
    summary.setCluster(restored.cluster.c_str());
    summary.setName(restored.name.c_str());
    summary.setAtNs(restored.atNs);
    summary.setObjects(restored.records.size());
    summary.setSecrets(!restored.authority.empty());
    co_await backups.leadership.restore(kj::mv(restored));
    if (!opens) co_return;
    std::string self = backups.host.node().id.cStr();
    auto reached = co_await backups.members.open(kj::mv(others), kj::str(self.c_str()));
    context.getResults().setAddress(reached);
  }

  kj::Own<kj::Refcounted> owner;
  Backups& backups;
  const kj::String address;
  uint64_t received = 0;
  Restored restored;
  segments::BackupReader reader{"that was sent", [this](auto entry) { take(entry); }};
};

Task<void> Backups::restore(RestoreContext context) {
  co_await leadership.settled();
  checkRestore();
  context.getResults().setUpload(
      kj::heap<Upload>(kj::addRef(owner), *this, context.getParams().getAddress()));
}

}  // namespace orch::control::manager
