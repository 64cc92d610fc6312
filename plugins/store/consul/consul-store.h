// The promises of the kind, kept by transactions of consul. Where `sdk/schema/store.capnp` and
// consul meet:
//
//   A revision of the store is consul's index at which a batch was written, so that all objects of
//   a batch have it, it grows, and numbers of other writes are left out.
//
//   Every transaction that writes is conditional on the index of the key `state`, hence on the
//   state's id and epoch; and on the last batch that this node knows of being there at its index,
//   so that nothing is written to a restored old copy. A commit makes the record of its batch, and
//   the change of the next number, both of which must not be there: so it may be sent twice and is
//   applied once, and `find` ends all doubt by putting a record in its place. Records are trimmed
//   by changing `state`, so that a commit that comes later than that is not applied either.
//
//   consul's own fences are not enough: its index stays where a value is written again, the lock
//   index begins anew with each session, and to delete what is not there always works. So values
//   differ, the epoch is a number in `state`, and what is to be deleted is looked at before, which
//   holds until another batch is written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "consul/client.h"
#include "layout.h"
#include "lib/object-table.h"
#include "lib/shared-server.h"
#include "orch/semaphore.h"

namespace orch::store::consul {

using namespace orch::consul;  // the client and what it is asked

class ConsulStore final : public SharedState, private kj::TaskSet::ErrorHandler {
 public:
  // Conditions and records of a commit, beside its changes.
  static constexpr uint32_t OTHER_OPS = 5;
  // `find` remembers the last 1,000 batches; what a busy store gains meanwhile comes on top.
  static constexpr uint64_t KEPT_BATCHES = 1500;
  static constexpr uint64_t TRIM_EVERY = 250;
  // Changes with more bytes of values are kept by their names: the values are in the objects, as
  // long as these do not change again.
  static constexpr size_t VALUES_IN_CHANGE = 64 << 10;

  // `env` outlives it. `knownFile` is told in texts only.
  ConsulStore(Env& env, ClientSettings settings, Layout layout, KnownState known,
              std::string knownFile, Log log);
  KJ_DISALLOW_COPY(ConsulStore);

  Task<CommitAnswer> commit(FlatBatch batch, uint64_t epoch) override;
  Task<ElectAnswer> elect(std::string candidate, uint64_t expected, uint64_t least) override;
  Task<std::optional<uint64_t>> find(std::string batchId) override;
  Task<KnownState> load(schema::ObjectSink::Client sink) override;
  kj::Own<Following> follow(uint64_t from, schema::ChangeSink::Client sink) override;
  void checkNames(schema::Batch::Reader batch) const override;
  void committed() override;

  // Reads the keys `state` and `head`, and the record of a batch if it is asked for one. Fails if
  // the state must not be used.
  Task<std::optional<KeyValue>> look(std::string batchId = "");
  // As last seen; nothing: there is none yet.
  const std::optional<Founding>& founding() const { return lastFounding; }
  const std::optional<Head>& head() const { return lastHead; }
  // Where the questions of `look` stand in a transaction that begins with them.
  enum : size_t { STATE_AT, HEAD_AT, NEXT_AT };
  TxnRequest& ask(TxnRequest& txn) const { return txn.get(layout.state()).get(layout.head()); }
  // Checks what such a transaction has found against what was known when it was asked (answers
  // overtake each other), and remembers it. False: there is no state. Fails if it must not be used.
  bool accept(const TxnAnswer& answer, const KnownState& before);
  // Fails with what is damaged and how to go on.
  [[noreturn]] void failDamaged(std::string_view what, std::string_view consulKey,
                                uint64_t index) const;

  Env& env;
  Client client;
  const Layout layout;
  Log log;

 private:
  // One try of a commit.
  struct Try {
    Reply reply;
    std::optional<uint64_t> committed;  // the revision
    std::vector<uint32_t> stale;        // changes that were decided on another revision
  };

  std::string place() const;
  // Sees to it that `founding` is known, and founds a state where none is and none was known.
  Task<void> found();
  TxnRequest& guard(TxnRequest& txn) const;
  TxnRequest commitRequest(schema::Batch::Reader batch) const;
  Task<Try> tryCommit(schema::Batch::Reader batch, uint64_t epoch);
  // The changes that errors of these operations are about; a reason of another kind refuses.
  void judge(Try& tried, const std::vector<uint32_t>& changes, size_t firstAt) const;
  // Why a try that was answered was none; nothing: the next one may be.
  Task<std::optional<CommitAnswer>> explain(schema::Batch::Reader batch, uint64_t epoch,
                                            std::vector<uint32_t> stale);
  Task<CommitAnswer> notCommitted(Reply reply, bool uncertain, std::string batchId, uint64_t epoch);
  // A refusal after a try that may still be applied: rules that out, or finds it applied.
  Task<CommitAnswer> certain(CommitAnswer refused, std::string batchId);
  // Whether the record stands for a batch that was applied; else it never will be.
  bool isApplied(const KeyValue& record) const;
  void learn(uint64_t revision);

  struct Moment {
    Founding founding;
    Head head;
  };
  // As they are; nothing: there is no state.
  Task<std::optional<Moment>> moment();
  struct Gathered;
  Task<Gathered> gather();
  Task<std::vector<std::string>> listObjects();  // without their prefix, in order
  Task<TxnAnswer> readTrees(std::vector<std::string> prefixes);
  void take(Gathered& all, const KeyValue& kv) const;
  Task<bool> catchUp(Gathered& all, const Head& to);
  Task<void> takeChange(Gathered& all, const KeyValue& change, uint64_t upTo);
  Task<void> takeNamed(Gathered& all, std::vector<std::string> keys, uint64_t upTo);

  // What is known of a batch that is to be forgotten.
  struct Old {
    uint64_t number;
    std::vector<std::string> keys;
  };
  Task<void> trim();
  Task<void> trimAll();
  Task<void> forget(kj::ArrayPtr<const Old> some);
  void taskFailed(kj::Exception&& exception) override;

  const std::string knownFile;
  std::optional<Founding> lastFounding;
  std::optional<Head> lastHead;
  Semaphore writing{1};
  uint64_t sinceTrim = TRIM_EVERY;  // whoever was here before may have left some
  bool trimming = false;
  bool trimFails = false;
  kj::TaskSet tasks{*this};
};

}  // namespace orch::store::consul
