#include "lead/status.h"

#include <algorithm>
#include <set>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/gateway.capnp.h"
#include "serve/cluster-queries.h"

namespace orch::control::manager {

namespace {

constexpr kj::Duration STATUS_LIMIT = 2 * kj::SECONDS;
// A leader asks them while a follower waits for its answer.
constexpr kj::Duration SERVERS_STATE_LIMIT = 1 * kj::SECONDS;
// Of a follower that has a beat under way at all times.
constexpr kj::Duration HEARD_WITHIN = (2 + Leadership::MISSED_BEATS) * Leadership::BEAT;

struct Managing {
  std::string id, name, address;
};

// By name.
std::vector<Managing> managing(const State& state) {
  std::vector<Managing> found;
  for (auto& [id, object] : state.all(Kind::NODE)) {
    auto node = object.as<schema::Node>();
    if (!state.isManager(id)) continue;
    found.push_back({id, text(node.getDescription().getHostname()), text(node.getAddress())});
  }
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) {
    return std::tie(a.name, a.address) < std::tie(b.name, b.address);
  });
  return found;
}

void fillManager(schema::ManagerStatus::Builder builder, const Managing& from) {
  builder.setId(from.id.c_str());
  builder.setName(from.name.c_str());
  builder.setAddress(from.address.c_str());
}

// Of the store's servers, when those on all hosts but these are gone already.
uint32_t losableOf(capnp::List<schema::StoreServer>::Reader servers,
                   const std::set<std::string>& reached) {
  uint32_t voters = 0, running = 0;
  for (auto server : servers) {
    if (!server.getVotes()) continue;
    ++voters;
    running += reached.count(server.getNodeId().cStr()) > 0;
  }
  auto quorum = voters / 2 + 1;
  return running > quorum ? running - quorum : 0;
}

}  // namespace

Task<kj::Maybe<StatusQueries::Servers>> StatusQueries::askServers() {
  if (!leadership.hasStore()) co_return kj::Maybe<Servers>(nullptr);
  auto found = co_await leadership.currentStore().servers();
  KJ_IF_MAYBE (some, found) {
    co_return co_await some->stateRequest().send();
  }
  co_return kj::Maybe<Servers>(nullptr);
}

Task<kj::Maybe<StatusQueries::Servers>> StatusQueries::servers() {
  auto late = env.timer().afterDelay(SERVERS_STATE_LIMIT).then([]() {
    return kj::Maybe<Servers>(nullptr);
  });
  auto asking = askServers().promise();
  auto asked = co_await attempt(asking.exclusiveJoin(kj::mv(late)));
  if (asked.ok()) co_return kj::mv(asked.value());
  co_return kj::Maybe<Servers>(nullptr);
}

void StatusQueries::describeState(schema::ClusterStatus::Builder status) const {
  auto& state = manager.state();
  uint64_t objects = 0, bytes = 0;
  for (size_t i = 0; i < KINDS; ++i) {
    for (auto& [id, object] : state.all(static_cast<Kind>(i))) {
      ++objects;
      bytes += object.words.asBytes().size() + object.status.asBytes().size();
    }
  }
  status.setObjects(objects);
  status.setBytes(bytes);
  status.setRevision(state.revision);
  for (auto& [id, object] : state.all(Kind::CLUSTER)) {
    status.setCluster(object.as<schema::Cluster>().getName());
  }
}

void StatusQueries::describeReach(const std::string& id,
                                  schema::ManagerStatus::Builder builder) const {
  using Reach = schema::ManagerStatus::Reach;
  if (id == manager.state().leader) {
    builder.setReach(Reach::LEADER);
    return;
  }
  builder.setReach(Reach::UNREACHABLE);
  KJ_IF_MAYBE (beat, leadership.beatOf(id)) {
    auto silent = env.timer().now() - beat->at;
    builder.setBehindMs(beat->behindMs);
    if (silent <= HEARD_WITHIN) {
      builder.setReach(Reach::REACHABLE);
      builder.setReason(beat->trouble.c_str());
    } else {
      builder.setReason(kj::str("it has not been heard of for ", silent / kj::SECONDS, "s"));
    }
  } else {
    builder.setReason("it has not been heard of since this leader leads");
  }
}

Task<void> StatusQueries::describe(schema::ClusterStatus::Builder status) {
  auto run = co_await servers();
  describeState(status);
  auto managers = managing(manager.state());
  auto list = status.initManagers(managers.size());
  std::set<std::string> reached;
  for (uint32_t i = 0; i < list.size(); ++i) {
    fillManager(list[i], managers[i]);
    describeReach(managers[i].id, list[i]);
    bool leads = managers[i].id == manager.state().leader;
    if (leads) status.setLeader(managers[i].name.c_str());
    bool follows = list[i].getReach() == schema::ManagerStatus::Reach::REACHABLE;
    bool there = leads || (follows && list[i].getReason().size() == 0);
    if (there) reached.insert(managers[i].id);
  }
  auto losable = reached.empty() ? 0 : static_cast<uint32_t>(reached.size() - 1);
  if (!members.isShared()) losable = 0;
  KJ_IF_MAYBE (state, run) losable = std::min(losable, losableOf(state->getServers(), reached));
  status.setCanLose(losable);
  status.setEpoch(leadership.knownEpoch());
  status.setLedSinceNs(leadership.ledSinceNs());
}

kj::String StatusQueries::roleWord() const {
  if (leadership.leads()) return kj::str("leader");
  return leadership.leader() == nullptr ? kj::String() : kj::str("follower");
}

Task<void> StatusQueries::ask(schema::ClusterControl::StatusResults::Builder results) {
  auto led = results.initStatus();
  if (leadership.leads()) co_await describe(led);
  bool known = leadership.leads();
  KJ_IF_MAYBE (leader, leadership.leader()) {
    auto late = env.timer().afterDelay(STATUS_LIMIT);
    kj::Promise<void> asking = leader->statusRequest().send().then(
        [&](auto&& answer) { results.setStatus(answer.getStatus()); });
    auto answered = co_await attempt(
        asking.exclusiveJoin(late.then([] { fail(kj::str("the leader does not answer")); })));
    known = answered.ok();
  }
  auto status = results.getStatus();
  if (!known) co_await describeUnled(status);
  status.setNode(host.node().name);
  status.setRole(roleWord());
  co_await describeStore(status.initStore());
}

Task<void> StatusQueries::describeUnled(schema::ClusterStatus::Builder status) {
  describeState(status);
  status.setEpoch(leadership.knownEpoch());
  status.setProblem(leadership.whyNobody());
  if (!manager.state().all(Kind::CLUSTER).empty()) status.setAsOfNs(leadership.asOfNs());
  auto managers = managing(manager.state());
  if (managers.empty() && members.isMember()) {
    for (auto& address : members.knownManagers()) managers.push_back({"", "", address});
  }
  std::vector<kj::Promise<kj::String>> asked;
  for (auto& each : managers) {
    bool own = each.id == host.node().id.cStr() || each.address == members.address().cStr();
    if (own) {
      asked.push_back(kj::Promise<kj::String>(kj::String()));
    } else {
      asked.push_back(whyNotReached(kj::str(each.address.c_str())).promise());
    }
  }
  auto list = status.initManagers(managers.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto why = co_await asked[i];
    fillManager(list[i], managers[i]);
    list[i].setReach(why.size() == 0 ? schema::ManagerStatus::Reach::REACHABLE
                                     : schema::ManagerStatus::Reach::UNREACHABLE);
    list[i].setReason(why);
  }
}

Task<kj::String> StatusQueries::whyNotReached(kj::String address) {
  auto request = host.service<schema::Trust>("trust").reachRequest();
  request.setAddress(address);
  auto late = env.timer().afterDelay(STATUS_LIMIT).then([] { fail(kj::str("no answer")); });
  kj::Promise<void> asking = request.send().then([](auto&& reached) {
    auto port = reached.getGateway().template castAs<schema::Gateway>();
    return port.servicesRequest().send().ignoreResult().attach(kj::mv(port));
  });
  auto reached = co_await attempt(asking.exclusiveJoin(kj::mv(late)));
  co_return reached.ok() ? kj::String() : kj::str(reached.message());
}

Task<void> StatusQueries::describeStore(schema::StoreStatus::Builder store) {
  store.setName(leadership.storeName());
  store.setUri(leadership.storeUri());
  store.setShared(members.isShared());
  if (!leadership.hasStore()) {
    store.setProblem(leadership.whyNobody());
    co_return;
  }
  auto from = env.timer().now();
  kj::Promise<void> asking = leadership.currentStore().lead().promise().ignoreResult();
  // Who looks for a leader is told by the store in time what is wrong.
  auto late = env.timer().afterDelay(STATUS_LIMIT).then([this] {
    fail(leadership.isOld() ? kj::str(leadership.whyNobody())
                            : kj::str("it has not answered for two seconds"));
  });
  auto answered = co_await attempt(asking.exclusiveJoin(kj::mv(late)));
  auto took = (env.timer().now() - from) / kj::MICROSECONDS;
  auto run = co_await servers();
  kj::StringPtr trouble = ""_kj;
  KJ_IF_MAYBE (state, run) trouble = state->getTrouble();
  if (trouble.size() == 0) trouble = leadership.serversWaitFor();
  // Who has no server to ask says the same.
  if (!answered.ok() && view(answered.message()).find(view(trouble)) != std::string_view::npos) {
    trouble = ""_kj;
  }
  auto separator = trouble.size() > 0 ? "; "_kj : ""_kj;
  if (!answered.ok()) {
    store.setProblem(kj::str(answered.message(), separator, trouble));
    co_return;
  }
  store.setLatencyUs(took > 0 ? static_cast<uint64_t>(took) : 1);
  if (manager.trouble().size() > 0) {
    store.setProblem(
        kj::str("the last change could not be saved: ", manager.trouble(), separator, trouble));
  } else if (leadership.trouble().size() > 0) {
    store.setProblem(kj::str(leadership.trouble(), separator, trouble));
  } else {
    store.setProblem(trouble);
  }
}

}  // namespace orch::control::manager
