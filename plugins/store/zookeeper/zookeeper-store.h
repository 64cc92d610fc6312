// The promises of the kind, kept by transactions of ZooKeeper. Where `sdk/schema/store.capnp` and
// ZooKeeper meet:
//
//   A revision of the store is the number of a record, counted up in the node `head`; ZooKeeper's
//   own numbers would change when a state is moved to other servers. Every transaction that writes
//   a record is conditional on the versions of `head` and of `state`, hence on nobody having
//   written since, and on the epoch. So what an object's revision is can be known beforehand: it is
//   read once and remembered for as long as `head` is this node's own work. A commit may be sent
//   twice and is applied once, and one that comes late, over a connection that nobody waits for any
//   more, changes nothing.
//
//   `find` ends all doubt about a batch by writing a record that it never will be applied.
//
//   A server's answer to a read may be old. Before whatever has to be of now, a transaction without
//   changes is asked for, which most servers have to agree to; what is read after it on the same
//   connection is no older. A commit that is refused for what this node remembers is such a
//   transaction, too, conditional on this memory being right.
//
//   What was remembered is forgotten with the session: it ends when the servers are older copies of
//   themselves, which let in no session that has seen more.
//
//   A server's copy may lack changes that were committed, or have some that never were: ZooKeeper
//   3.8 leaves such behind where a server loses its leader while it writes (ZOOKEEPER-4712, -4785).
//   Whoever decides on a transaction has the version of `state` and of `head` that a server has
//   answered; what it has of the past, which is the records and the objects, has to agree with
//   `head`. A server where one of these does not fit is left for another one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "layout.h"
#include "lib/object-table.h"
#include "lib/shared-server.h"
#include "orch/host.h"
#include "zookeeper/client.h"

namespace orch::store::zookeeper {

using orch::zookeeper::Client;
using orch::zookeeper::ClientSettings;
using orch::zookeeper::Code;
using orch::zookeeper::Done;
using orch::zookeeper::Listing;
using orch::zookeeper::Multi;
using orch::zookeeper::Read;

// `find` remembers the last 1,000 batches; what goes too late comes on top.
constexpr uint64_t KEPT_RECORDS = 1500;
constexpr uint64_t TRIM_EVERY = 64;

struct StoreSettings {
  ClientSettings servers;
  std::string prefix;
  kj::Duration timeout = 5 * kj::SECONDS;
  std::string knownFile;  // told in texts only
};

// What is there, in the two nodes that every change depends on.
struct Glance {
  bool there = false;  // a state is
  Founding founding;
  int32_t stateVersion = 0;
  Head head;
  int32_t headVersion = 0;
};

class ZookeeperStore final : public SharedState, private kj::TaskSet::ErrorHandler {
 public:
  // `env` outlives it. The connection is made at once.
  ZookeeperStore(Env& env, StoreSettings settings, KnownState known, Log log);
  ~ZookeeperStore() noexcept(false) override;
  KJ_DISALLOW_COPY(ZookeeperStore);

  Task<CommitAnswer> commit(FlatBatch batch, uint64_t epoch) override;
  Task<ElectAnswer> elect(std::string candidate, uint64_t expected, uint64_t least) override;
  Task<std::optional<uint64_t>> find(std::string batchId) override;
  Task<KnownState> load(schema::ObjectSink::Client sink) override;
  kj::Own<Following> follow(uint64_t from, schema::ChangeSink::Client sink) override;
  void checkNames(schema::Batch::Reader) const override {}  // all are escaped
  void committed() override;

  // For followers and loads. Who leads is what most servers agree to.
  Task<Glance> glance();
  // And the last record as well, unless it is another one all the time.
  Task<Glance> sureGlance();
  // What the records after `from` change, up to `to`. Nothing for one that is gone.
  kj::Promise<std::optional<Change>> change(uint64_t number);
  // An object as it is now; nothing if it is gone. Fails with its name if it is damaged.
  using Object = StoredValue;
  kj::Promise<std::optional<Object>> object(std::string name);
  // A follower was told of all up to the record `number`.
  void followedTo(uint64_t number);
  // The server that is asked has another state than was committed, as `why` says. Fails with
  // DISCONNECTED; another one is asked from now on.
  [[noreturn]] void leaveServer(std::string why);
  Client& servers() { return client; }
  const Layout& paths() const { return layout; }

 private:
  // What this node remembers.
  struct Memory {
    uint64_t session = 0;  // of the client; 0: it remembers nothing
    Glance at;
    std::map<uint64_t, BatchRecord> records;            // by number; some of them past their time
    std::unordered_map<std::string, uint64_t> numbers;  // of a batch's id
    // By the object's name; 0: it does not exist. Those that were asked for or written.
    std::unordered_map<std::string, uint64_t> objects;
    std::optional<BatchRecord> recordOf(const std::string& id) const;
    void add(BatchRecord record);
  };
  // A commit under way.
  struct Try {
    bool inFlight = false;   // asked for, and not answered
    bool uncertain = false;  // one that was asked for before may have been applied
    bool lookAtAll = false;  // objects that should not exist are asked for too
    size_t bytes = 0;        // of the last request
  };
  void remember(Memory fresh);
  void forget();
  // True while what was remembered before, when `generation` was this, is still what is.
  bool remembers(uint64_t before) const;
  // Remembers what is there; makes a state where none is and none was known.
  Task<void> ensure();
  Task<Glance> examine();
  // That all records are there which should be, and each once.
  Task<void> checkRecords(const Memory& fresh, bool twice);
  Task<void> found();
  Glance readGlance(const Done& barrier, const Read& state, const Read& head,
                    const KnownState& before);
  void accept(const Glance& there, const KnownState& before);

  Task<std::optional<CommitAnswer>> tryCommit(schema::Batch::Reader batch, uint64_t epoch,
                                              Try& trying);
  // The revisions of the batch's objects, as far as they have to be known. False if something was
  // written meanwhile.
  Task<bool> learnObjects(schema::Batch::Reader batch, bool all);
  // Why it must not be applied; nothing: it may.
  std::optional<CommitAnswer> refusal(schema::Batch::Reader batch, uint64_t epoch) const;
  Multi commitRequest(schema::Batch::Reader batch, const Head& next) const;
  Multi guarded() const;
  // What a transaction fails with that somebody else was faster than.
  static bool isRace(Code code);
  // The record was written while `before` was the generation.
  void advance(uint64_t before, const Head& next, BatchRecord record);
  void applied(uint64_t before, schema::Batch::Reader batch, const Head& next);
  CommitAnswer unanswered(const Try& trying, uint64_t epoch, std::string why) const;
  Task<CommitAnswer> certain(CommitAnswer refused, std::string batchId);
  Head nextHead(bool applied) const;

  // 0: it never will be applied.
  Task<std::optional<uint64_t>> tryFind(std::string batchId);
  Task<std::optional<ElectAnswer>> tryElect(std::string candidate, uint64_t expected, uint64_t next,
                                            Try& trying);
  Task<void> trim();

  struct Gathered;
  Task<Gathered> gather();
  Task<std::vector<std::string>> listObjects();
  Task<void> readObjects(Gathered& all, const std::vector<std::string>& names);
  Task<bool> catchUp(Gathered& all, uint64_t to);
  Task<void> checkSum(const Gathered& all, StateSum expected);
  Task<void> catchUpOne(Gathered& all, uint64_t number, const Change& change);

  // Fails if it takes too long.
  template <typename T>
  Task<T> soon(kj::Promise<T> promise);
  std::string place() const;
  [[noreturn]] void failDamaged(std::string_view what, std::string_view path) const;
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  const StoreSettings settings;
  Log log;
  const Layout layout;
  Client client;
  Memory memory;
  uint64_t generation = 0;
  // Of `state`, in this session: as a server has it, and most have agreed to, or still have to.
  struct Version {
    uint64_t session = 0;
    int32_t number = Multi::ANY_VERSION;
  };
  Version stateVersion;
  uint64_t sinceTrim = TRIM_EVERY;  // whoever was here before may have left some
  bool trimming = false;
  bool trimFails = false;
  bool told = false;  // that the connection is lost
  kj::TaskSet tasks{*this};
};

}  // namespace orch::store::zookeeper
