// Tells one follower of every batch, from etcd's watch.
#pragma once

#include "etcd-store.h"
#include "orch/host.h"

namespace orch::store::etcd {

// It ends when it is dropped or when its sink fails. A connection that breaks is made again, at
// another endpoint, from the last batch on.
class Follower final : public Following {
 public:
  // Everything after revision `from`. The references outlive it.
  Follower(Env& env, Client& client, EtcdStore& store, const Layout& layout, Log& log,
           uint64_t from, schema::ChangeSink::Client sink);
  KJ_DISALLOW_COPY(Follower);

 private:
  // The changes of one revision, as far as they have come.
  struct Group {
    uint64_t revision = 0;
    std::vector<KeyValue> objects;  // without a value: deleted
    kj::Maybe<KeyValue> record;
  };
  Task<void> run();
  Task<void> watch();
  Task<void> noticeSilence();
  Task<void> take(WatchMessage message);
  void add(WatchEvent& event, Group& group) const;
  Task<void> finish(Group group);
  // False if the record and the objects do not fit.
  bool fill(schema::ChangeSink::ChangesParams::Builder params, const Group& group) const;
  Task<void> resync(uint64_t revision);

  Env& env;
  Client& client;
  EtcdStore& store;
  const Layout& layout;
  Log& log;
  uint64_t position;    // of the last batch that was handed to the sink
  std::string stateId;  // of whose history that is; empty: not looked yet
  schema::ChangeSink::Client sink;
  bool sinkFailed = false;
  bool waiting = false;  // for etcd, not for the sink
  bool told = false;     // that it is cut off
  Group open;
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::store::etcd
