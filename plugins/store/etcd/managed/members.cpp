// What the plugin of the leader does for all members of a managed etcd. Each change is etcd's own,
// by its consensus; what is refused or lost is seen in the next list of members.
#include <algorithm>

#include "etcd/request.h"
#include "managed/managed-etcd.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::etcd {

namespace {

// One that was admitted and has not run since is in the way of others: etcd takes one without a
// vote at a time.
constexpr auto UNSTARTED_LIMIT = 15 * kj::SECONDS;

const std::string MEMBER_ADD = "/v3/cluster/member/add";
const std::string MEMBER_REMOVE = "/v3/cluster/member/remove";
const std::string MEMBER_UPDATE = "/v3/cluster/member/update";
const std::string TRANSFER = "/v3/maintenance/transfer-leadership";
const std::string MEMBER_PROMOTE = "/v3/cluster/member/promote";

Task<void> ignoreAnswer(Task<std::string> asked) { co_await kj::mv(asked); }

}  // namespace

Task<std::vector<Member>> ManagedEtcd::members() {
  auto text = co_await client.demand("/v3/cluster/member/list", "{}");
  auto list = orch::etcd::readMembers(text);
  std::map<uint64_t, kj::TimePoint> waiting;
  for (auto& member : list) {
    if (!member.name.empty()) continue;
    auto known = unstarted.find(member.id);
    auto since = known == unstarted.end() ? env.timer().now() : known->second;
    waiting.emplace(member.id, since);
  }
  unstarted = std::move(waiting);
  std::erase_if(admitted, [&](auto& entry) { return unstarted.count(entry.first) == 0; });
  co_return kj::mv(list);
}

// What it has is nobody's state, or it would not be about to be founded.
Task<bool> ManagedEtcd::isLeftOver() {
  if (record.get() == nullptr) co_return false;
  auto there = co_await attempt(members());
  if (!there.ok() || there.value().size() < 2) co_return false;
  orch::etcd::TxnRequest txn;
  txn.thenGet(layout.state());
  auto answered = co_await attempt(client.demand("/v3/kv/txn", txn.text()));
  co_return !answered.ok();
}

Task<void> ManagedEtcd::remove(uint64_t member) {
  auto reply = co_await client.ask(MEMBER_REMOVE, orch::etcd::memberRequest(member));
  using Kind = orch::etcd::Reply::Kind;
  bool gone = reply.refusal.message.find("member not found") != std::string::npos;
  if (reply.kind == Kind::ANSWERED || gone) co_return;
  if (reply.kind == Kind::LOST) fail(kj::str(reply.reason.c_str()));
  fail(kj::str(client.refusalText(reply.refusal).c_str()));
}

Task<void> ManagedEtcd::removeSelf() {
  auto there = co_await members();
  requireMember();
  for (auto& member : there) {
    if (member.name == own().getName().cStr()) co_return co_await remove(member.id);
  }
}

// Whoever was deposed meanwhile would remove members that came since.
Task<void> ManagedEtcd::checkEpoch(uint64_t epoch) {
  orch::etcd::TxnRequest txn;
  txn.thenGet(layout.state());
  auto text = co_await client.demand("/v3/kv/txn", txn.text());
  auto answer = orch::etcd::readTxn(text);
  auto* state = answer.at(0);
  auto founding = state == nullptr ? std::nullopt : Founding::read(state->value);
  if (!founding || founding->epoch != epoch) {
    fail(kj::str("the etcd's members are another manager's to change"));
  }
}

// Asked of the member that gives it up: this host's, if it has it. One that is refused is tried at
// the next look.
Task<void> ManagedEtcd::followLeader(const orch::etcd::Status& status) {
  auto self = status.member;
  if (status.leader != self) co_return;
  orch::etcd::TxnRequest txn;
  txn.thenGet(layout.leader());
  auto text = co_await client.demand("/v3/kv/txn", txn.text());
  auto answer = orch::etcd::readTxn(text);
  auto* leader = answer.at(0);
  if (leader == nullptr) co_return;
  auto member = std::find_if(seen.begin(), seen.end(),
                             [&](auto& one) { return one.name == leader->value && !one.learner; });
  if (member == seen.end() || member->id == self) co_return;
  std::string node = member->name;
  auto moved = co_await client.ask(TRANSFER, orch::etcd::transferRequest(member->id));
  if (moved.kind != orch::etcd::Reply::Kind::ANSWERED) co_return;
  log.info("the etcd is led from where the cluster is", {{"node", node.c_str()}});
}

// A member that runs has not lost its data, whoever asks for another one in its place: whoever has
// asked twice, because the first answer was late, is asked for here a second time.
Task<void> ManagedEtcd::makeWay(const std::vector<Member>& there, std::string id, std::string url) {
  auto metrics = co_await client.demand("/metrics", "");
  auto connected = orch::etcd::readConnected(metrics);
  for (auto& member : there) {
    bool same = member.name == id || member.url == url;
    if (same && member.name == own().getName().cStr()) {
      fail(kj::str("the leader's own etcd is at ", url.c_str(), " already"));
    }
    if (same && !member.name.empty() && connected.count(member.id) > 0) {
      fail(kj::str("the etcd at ", url.c_str(), " runs and is with the others: it stays as it is"));
    }
    if (same) {
      log.warn("store.member-replaced, its data are gone", {{"node", id.c_str()}});
      co_await remove(member.id);
      continue;
    }
    if (!member.learner) continue;
    auto since = unstarted.find(member.id);
    bool given = since != unstarted.end() && env.timer().now() - since->second > UNSTARTED_LIMIT;
    if (!given) {
      fail(kj::str("the etcd at ", member.url.c_str(),
                   " has to catch up first: members come one at a time"));
    }
    log.warn("store.member-never-came, making way for others", {{"url", member.url.c_str()}});
    co_await remove(member.id);
  }
}

Task<kj::Array<kj::byte>> ManagedEtcd::admit(uint64_t epoch, std::string id, std::string host) {
  auto pass = co_await changing.enter();
  requireMember();
  co_await checkEpoch(epoch);
  auto url = urlOf(host);
  auto before = co_await members();
  co_await makeWay(before, id, url);
  // Refused ("member not found") in the second in which one of the same URL was removed: etcd makes
  // the same id of both.
  auto text = co_await client.demand(MEMBER_ADD, orch::etcd::learnerRequest(url));
  requireMember();
  std::string cluster;
  for (auto& member : orch::etcd::readMembers(text)) {
    bool added = member.url == url;
    if (added) admitted[member.id] = id;
    cluster += (cluster.empty() ? "" : ",") + (added ? id : member.name) + "=" + member.url;
  }
  Record message;
  auto invitation = message.initRoot<ManagedMember>();
  invitation.setName(id.c_str());
  invitation.setAddress(host.c_str());
  invitation.setToken(own().getToken());
  invitation.setCluster(cluster.c_str());
  invitation.setAuthority(own().getAuthority());
  log.info("a member is added to the etcd", {{"node", id.c_str()}, {"url", url.c_str()}});
  co_return bytesOf(message);
}

bool ManagedEtcd::isWanted(const Member& member, const Hosts& hosts) const {
  if (!member.name.empty()) return hosts.count(member.name) > 0;
  auto known = admitted.find(member.id);
  if (known != admitted.end()) return hosts.count(known->second) > 0;
  return std::any_of(hosts.begin(), hosts.end(), [&](auto& host) {
    return !host.second.empty() && urlOf(host.second) == member.url;
  });
}

Task<bool> ManagedEtcd::tried(Task<void> step, Tended& result) {
  auto done = co_await attempt(kj::mv(step));
  if (!done.ok() && result.waitsFor.empty()) result.waitsFor = done.message().cStr();
  co_return done.ok();
}

Task<ManagedEtcd::Tended> ManagedEtcd::tend(uint64_t epoch, Hosts hosts) {
  auto pass = co_await changing.enter();
  requireMember();
  co_await checkEpoch(epoch);
  tendedAt = env.timer().now();
  auto there = co_await members();
  requireMember();
  Tended result;
  result.settled = true;
  std::string self = own().getName().cStr();
  for (auto& member : there) {
    auto host = hosts.find(member.name);
    bool wanted = isWanted(member, hosts);
    bool moved = host != hosts.end() && !host->second.empty() && urlOf(host->second) != member.url;
    bool stranger = !wanted && member.name != self;
    bool catchesUp = wanted && member.learner;
    if (!stranger && !catchesUp && !moved) continue;
    result.settled = false;
    kj::StringPtr what = "a member is removed from the etcd";
    bool done = false;
    if (stranger) {
      done = co_await tried(remove(member.id), result);
    } else if (moved) {
      what = "a member of the etcd has another address"_kj;
      auto request = orch::etcd::memberRequest(member.id, urlOf(host->second));
      done = co_await tried(ignoreAnswer(client.demand(MEMBER_UPDATE, request)), result);
    } else if (!member.name.empty()) {
      what = "a member of the etcd has caught up and votes"_kj;
      auto request = orch::etcd::memberRequest(member.id);
      done = co_await tried(ignoreAnswer(client.demand(MEMBER_PROMOTE, request)), result);
    } else if (result.waitsFor.empty()) {
      result.waitsFor = "the etcd at " + member.url + " has not started yet";
    }
    if (!done) continue;
    log.info(what, {{"node", member.name.c_str()}, {"url", member.url.c_str()}});
    co_return kj::mv(result);
  }
  co_return kj::mv(result);
}

}  // namespace orch::store::etcd
