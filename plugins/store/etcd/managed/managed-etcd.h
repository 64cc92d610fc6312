// An etcd that the plugin runs itself: this host's member, and what the plugin of the leader does
// for all of them.
//
// etcd's leader is moved to the host of the cluster's: what that one commits takes one way less,
// and a host that does not lead takes nobody's writes along when it is lost.
//
// What a node keeps of it, in `<data>/<instance>`: `member`, the record without which there is
// none, or `member.lost`, once it was seen that etcd's data are gone; `etcd/`, etcd's own data;
// `tls/`, made anew at each start; `before/`, the last record and data of an etcd that has ended
// without this member, once there is a member of another one. A member comes by `found` or by
// `join`, and goes by `leave`, or when the etcd has removed it, wherever that was decided: its
// process ends by itself then. One that has never run and does not begin to is none: the members of
// its invitation are not those that there are any more, or this host is no manager's; a manager
// asks for another invitation. A file `alone`, which an operator makes, has this host's member go
// on without all others, once: for when most of them are gone for good.
#pragma once

#include <capnp/message.h>

#include <map>
#include <vector>

#include "config.capnp.h"
#include "etcd/client.h"
#include "layout.h"
#include "managed/managed-settings.h"
#include "managed/member-process.h"
#include "managed/upkeep.h"
#include "orch/schema/store.capnp.h"
#include "orch/semaphore.h"

namespace orch::store::etcd {

using orch::etcd::Client;
using orch::etcd::Member;

// On the loop. Capabilities of it may outlive the plugin: what they ask for after `stop` fails.
class ManagedEtcd final : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  // Of whoever keeps the state in it. Not called after `stop`.
  struct Owner {
    // There is no member to ask, for this reason; empty: there is.
    kj::Function<void(std::string)> absent;
    // What is known of a state counts no more: it is about to be another one.
    kj::Function<void()> forget;
  };
  // What a user is told to see to when it does not answer.
  static constexpr const char* REMEDY =
      "it needs most of the managers' hosts, which reach each other at 'peerPort'";

  // `env` outlives it.
  ManagedEtcd(Env& env, Log log, ManagedSettings settings, Layout layout, Owner owner);
  ~ManagedEtcd() noexcept(false);

  // Reads the record, and notices that data are gone.
  Task<void> recover();
  // The member, if this host has one. It may take a while to answer.
  void start();
  Task<void> stop();

  // See StoreServers.
  void describe(schema::StoreServers::StateResults::Builder state);
  Task<void> found(std::string id, std::string host);
  Task<void> settle(std::string host);
  Task<void> join(std::string id, std::string host, kj::Array<kj::byte> invitation);
  Task<void> leave();
  // The invitation.
  Task<kj::Array<kj::byte>> admit(uint64_t epoch, std::string id, std::string host);
  struct Tended {
    bool settled = false;
    std::string waitsFor;
  };
  using Hosts = std::map<std::string, std::string>;  // by node
  Task<Tended> tend(uint64_t epoch, Hosts hosts);

 private:
  using Record = capnp::MallocMessageBuilder;
  ManagedMember::Builder own() { return record->getRoot<ManagedMember>(); }
  kj::Own<Record> copy();
  void requireRunning() const;
  void requireMember() const;
  std::string lostFile() const { return file + ".lost"; }
  Task<void> keep(Record& fresh);
  Task<void> begin(kj::Own<Record> fresh);
  void launch();
  Task<void> writeKeys();
  bool areKeysDue();
  // Whether they were; it is told why not.
  Task<bool> renewKeys();
  ProcessSpec command();
  std::string urlOf(const std::string& host) const;
  static kj::Array<kj::byte> bytesOf(Record& message);
  // Once it is removed from its etcd.
  Task<void> dismantle();
  // Of one that has never run, when it has ended.
  void failed(const std::string& why);
  Task<void> giveUp(std::string why);
  bool isInVain();
  // Nothing is left of the member.
  Task<void> discard(std::string why);
  void forgetMember(std::string why);
  // It is none of an etcd that there is.
  Task<void> putAside();
  // Whether others that it would need have ended.
  Task<bool> isLeftOver();
  std::string trouble() const;
  void tellAbsent(std::string why);
  Task<void> watch();
  Task<void> look();
  bool isNeeded() const;
  Task<void> followLeader(const orch::etcd::Status& status);
  Task<void> noteStarted();
  Task<void> notAloneAgain();

  Task<std::vector<Member>> members();
  Task<void> remove(uint64_t member);
  Task<void> removeSelf();
  Task<void> makeWay(const std::vector<Member>& there, std::string id, std::string url);
  Task<void> checkEpoch(uint64_t epoch);
  // What has become of one step, if it was one.
  Task<bool> tried(Task<void> step, Tended& result);
  bool isWanted(const Member& member, const Hosts& hosts) const;
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Log log;
  const ManagedSettings settings;
  const Layout layout;
  Owner owner;
  Client client;
  std::string file;  // of the record
  kj::Own<Record> record;
  std::string ownKey;  // PEM
  bool alone = false;  // it is to forget all others
  kj::Own<MemberProcess> process;
  kj::TimePoint launchedAt;
  kj::Duration patience;        // with one that does not begin
  std::string inVain;           // why the last one was given up, or is lost
  std::string keysNotWritten;   // the reason
  int64_t keysMadeNs = 0;       // by the clock of then
  std::string startedNotNoted;  // the reason
  Upkeep upkeep;
  std::vector<Member> seen;                     // as the member last said
  std::map<uint64_t, std::string> admitted;     // nodes whose members have not run yet
  std::map<uint64_t, kj::TimePoint> unstarted;  // since when they are known
  kj::Maybe<kj::TimePoint> tendedAt;            // by the manager on this host
  bool stopped = false;
  Semaphore changing{1};
  kj::Promise<void> watching = kj::READY_NOW;
  kj::TaskSet tasks{*this};
};

// What a manager asks.
schema::StoreServers::Client newStoreServers(kj::Own<ManagedEtcd> of);

}  // namespace orch::store::etcd
