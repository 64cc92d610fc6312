// The promises of the kind, kept by transactions of etcd. Where `sdk/schema/store.capnp` and etcd
// meet:
//
//   A revision of the store is the revision of etcd at which a batch was written, so that all
//   objects of a batch have it, it grows, and numbers of other writes are left out.
//
//   Every transaction that writes is conditional on the whole text of the key `state`, hence on the
//   state's id and epoch; on `head` being no older than what this node knows, so that nothing is
//   written to a restored old copy; and on the batch's record not being there. So a commit may be
//   sent twice and is applied once, and `find` ends all doubt by putting a record in its place.
//   Records are trimmed by changing `state`, so that a commit that comes later than that is not
//   applied either.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "etcd/client.h"
#include "etcd/request.h"
#include "history.h"
#include "layout.h"
#include "lib/shared-server.h"

namespace orch::store::etcd {

using namespace orch::etcd;  // the client and what it is asked

// The state at one moment.
struct Summary {
  uint64_t revision = 0;  // of the last batch
  uint64_t epoch = 0;
  uint64_t now = 0;  // etcd's own
};

struct EtcdSettings {
  std::vector<http::Endpoint> endpoints;
  http::TlsFiles tls;
  kj::Duration timeout = 5 * kj::SECONDS;
  kj::Duration history = 0 * kj::SECONDS;
};

class EtcdStore final : public SharedState {
 public:
  // `env` outlives it. `knownFile` is told in texts only.
  EtcdStore(Env& env, const EtcdSettings& settings, Layout layout, KnownState known,
            std::string knownFile, Log log);
  KJ_DISALLOW_COPY(EtcdStore);

  Task<CommitAnswer> commit(FlatBatch batch, uint64_t epoch) override;
  Task<ElectAnswer> elect(std::string candidate, uint64_t expected, uint64_t least) override;
  Task<std::optional<uint64_t>> find(std::string batchId) override;
  Task<KnownState> load(schema::ObjectSink::Client sink) override;
  kj::Own<Following> follow(uint64_t from, schema::ChangeSink::Client sink) override;
  void checkNames(schema::Batch::Reader batch) const override;
  void committed() override { history.committed(knows.revision); }
  kj::Maybe<schema::StoreServers::Client> ownServers() override { return run; }
  // The members of the etcd, if the plugin runs them.
  void setServers(schema::StoreServers::Client servers) { run = kj::mv(servers); }
  // Whichever state is found next is the right one.
  void forget();
  Task<Summary> look();
  // Forgets records of batches, the oldest first, until `keep` are left.
  Task<void> trim(uint64_t keep);

  // Fails with what is damaged and how to go on.
  [[noreturn]] void failDamaged(std::string_view what, std::string_view etcdKey,
                                uint64_t revision) const;

  Env& env;
  Client client;
  const Layout layout;
  Log log;

 private:
  enum class Next { AGAIN, DONE };

  // Sees to it that `founding` is known, and founds a state where none is and none was known.
  Task<void> found();
  void learn(const Founding& found, uint64_t revision) {
    if (knows.learn(KnownState{found.id, revision, found.epoch})) learned();
  }
  // Checks what is found against what was known when it was asked for (answers overtake each
  // other), and remembers it. Fails if it must not be used.
  Founding accept(const TxnAnswer& answer, const KnownState& before);
  void guard(TxnRequest& txn, const Founding& expected) const;
  TxnRequest commitRequest(schema::Batch::Reader batch, uint64_t epoch) const;
  Next explain(const TxnAnswer& answer, const KnownState& before, schema::Batch::Reader batch,
               uint64_t epoch, CommitAnswer& result);
  // The revision of the batch's record, if it is there and stands for a batch that was applied.
  Task<std::optional<uint64_t>> applied(std::string batchId);
  // Who leads, without writing anything.
  Task<ElectAnswer> leads();
  Task<CommitAnswer> notCommitted(Reply reply, bool uncertain, std::string batchId, uint64_t epoch);
  // A refusal after a try that may still be applied: rules that out, or finds it applied.
  Task<CommitAnswer> certain(CommitAnswer refused, std::string batchId);
  CommitAnswer unanswered(const Reply& reply, bool uncertain, uint64_t epoch) const;
  Task<TxnAnswer> transact(const TxnRequest& txn);
  // Read from its text on another thread.
  Task<RangeAnswer> readPage(std::string request);
  std::string place() const;
  // Whether the record stands for a batch that was applied; else it never will be.
  bool isApplied(const KeyValue& record) const;

  const std::string knownFile;
  std::optional<Founding> founding;  // as last seen
  kj::Maybe<schema::StoreServers::Client> run;
  History history;
};

}  // namespace orch::store::etcd
