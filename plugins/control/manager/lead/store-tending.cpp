#include "lead/store-tending.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {
// A plugin that does not run lets its callers wait.
constexpr kj::Duration SERVERS_LIMIT = 5 * kj::SECONDS;
// A server that goes asks the others first, and ends its process.
constexpr kj::Duration LEAVE_LIMIT = 20 * kj::SECONDS;
}  // namespace

StoreTending::StoreTending(Env& env, Host& host, Manager& manager, Membership& members)
    : env(env), host(host), manager(manager), members(members) {}

Task<StoreTending::Servers> StoreTending::serversOf(StoreClient& store) {
  auto late = env.timer().afterDelay(SERVERS_LIMIT).then([]() -> Servers {
    fail(kj::str("the store does not say whether it runs servers itself"));
  });
  auto asked = store.servers().promise();
  co_return co_await asked.exclusiveJoin(kj::mv(late));
}

void StoreTending::nameSelf(schema::StoreHost::Builder self) const {
  self.setNodeId(host.node().id);
  self.setAddress(members.address());
}

Task<bool> StoreTending::isWithout(StoreClient& store) {
  auto servers = co_await serversOf(store);
  KJ_IF_MAYBE (some, servers) {
    auto state = co_await some->stateRequest().send();
    co_return !state.getPresent();
  }
  co_return false;
}

Task<std::string> StoreTending::nameOf(StoreClient& store) {
  auto servers = co_await serversOf(store);
  std::string name;
  KJ_IF_MAYBE (some, servers) {
    auto asking = some->stateRequest();
    auto state = co_await asking.send();
    if (state.getPresent()) name = state.getOf().cStr();
  }
  co_return name;
}

Task<void> StoreTending::found(StoreClient& store) {
  auto servers = co_await serversOf(store);
  KJ_IF_MAYBE (some, servers) {
    if (members.address().size() == 0) {
      fail(
          kj::str("others do not reach this host yet, as they have to for this store: 'orch init "
                  "--advertise-addr ADDRESS' first"));
    }
    auto request = some->foundRequest();
    nameSelf(request.initHost());
    co_await request.send().ignoreResult();
  }
}

Task<void> StoreTending::settle(StoreClient& store) {
  auto servers = co_await serversOf(store);
  bool known = servers != nullptr && members.address().size() > 0;
  if (!known) co_return;
  auto request = KJ_ASSERT_NONNULL(servers).settleRequest();
  nameSelf(request.initHost());
  co_await request.send().ignoreResult();
}

Task<void> StoreTending::leave(StoreClient& store) {
  auto servers = co_await serversOf(store);
  if (servers == nullptr) co_return;
  auto leaving = KJ_ASSERT_NONNULL(servers).leaveRequest().send().ignoreResult();
  auto late = env.timer().afterDelay(LEAVE_LIMIT).then([]() -> void {
    fail(kj::str("its server on this host does not end"));
  });
  co_await leaving.exclusiveJoin(kj::mv(late));
}

void StoreTending::start(Task<void> work) {
  auto all = kj::mv(work).promise();
  running = all.eagerlyEvaluate([this](kj::Exception&& exception) {
    host.log().error("manager.store-not-tended", {{"reason", plainText(exception)}});
  });
}
void StoreTending::lead(kj::Function<StoreClient&()> store) { start(tendOn(kj::mv(store))); }
void StoreTending::follow(kj::Function<kj::Own<StoreClient>()> store,
                          schema::ManagerPeer::Client leader) {
  start(joinOn(kj::mv(store), kj::mv(leader)));
}

void StoreTending::tell(kj::StringPtr trouble) {
  if (trouble.size() > 0 && told != trouble.cStr()) {
    host.log().warn("manager.store-servers-wait", {{"reason", trouble}});
  }
  told = trouble.cStr();
}

Task<void> StoreTending::tendOn(kj::Function<StoreClient&()> store) {
  for (;;) {
    auto tended = co_await attempt(tend(store()));
    if (!tended.ok()) tell(tended.message());
    bool settled = !tended.ok() || tended.value();
    auto pause = settled ? PAUSE : SHORT_PAUSE;
    co_await env.timer().afterDelay(pause);
  }
}

Task<bool> StoreTending::tend(StoreClient& store) {
  auto servers = co_await serversOf(store);
  if (servers == nullptr) co_return true;
  auto request = KJ_ASSERT_NONNULL(servers).tendRequest();
  request.setEpoch(manager.epoch());
  std::vector<schema::Node::Reader> hosts;
  for (auto& entry : manager.state().all(Kind::NODE)) {
    auto node = entry.second.as<schema::Node>();
    if (node.getManages()) hosts.push_back(node);
  }
  auto list = request.initHosts(hosts.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setNodeId(hosts[i].getMeta().getId());
    list[i].setAddress(hosts[i].getAddress());
  }
  auto tended = co_await request.send();
  tell(tended.getWaitsFor());
  co_return tended.getSettled();
}

Task<void> StoreTending::joinOn(kj::Function<kj::Own<StoreClient>()> store,
                                schema::ManagerPeer::Client leader) {
  for (bool known = false;;) {
    auto joined = co_await attempt(join(store(), leader, known));
    tell(joined.ok() ? ""_kj : joined.message());
    co_await env.timer().afterDelay(PAUSE);
  }
}

Task<bool> StoreTending::hasLeftover(StoreClient& store, schema::ManagerPeer::Client leader) {
  auto own = co_await nameOf(store);
  if (own.empty()) co_return false;
  auto asked = co_await attempt(leader.storeServersRequest().send());
  if (!asked.ok()) {
    bool older = asked.error().getType() == kj::Exception::Type::UNIMPLEMENTED;
    if (older) co_return false;
    kj::throwFatalException(kj::mv(asked.error()));
  }
  kj::StringPtr theirs = asked.value().getOf();
  co_return theirs.size() > 0 && theirs != own.c_str();
}

Task<void> StoreTending::join(kj::Own<StoreClient> store, schema::ManagerPeer::Client leader,
                              bool& known) {
  if (store.get() == nullptr) co_return;
  auto without = co_await isWithout(*store);
  if (!without && known) co_return;
  if (!without) {
    auto leftover = co_await hasLeftover(*store, leader);
    known = !leftover;
    if (known) co_return;
  }
  auto asking = leader.storeServerRequest();
  asking.setAddress(members.address());
  auto invited = co_await asking.send();
  auto servers = co_await serversOf(*store);
  KJ_IF_MAYBE (some, servers) {
    auto request = some->joinRequest();
    nameSelf(request.initHost());
    request.setInvitation(invited.getInvitation());
    co_await request.send().ignoreResult();
    host.log().info("this host has a server of the store from now on");
  }
}

Task<kj::Array<kj::byte>> StoreTending::invite(StoreClient& store, std::string nodeId,
                                               std::string address) {
  auto servers = co_await serversOf(store);
  if (servers == nullptr) {
    fail(
        kj::str("the leader's store has no servers of its own: the manifests have to say the same "
                "of it, here and there"));
  }
  auto request = KJ_ASSERT_NONNULL(servers).admitRequest();
  request.setEpoch(manager.epoch());
  auto joins = request.initHost();
  joins.setNodeId(nodeId.c_str());
  joins.setAddress(address.c_str());
  auto admitted = co_await request.send();
  co_return kj::heapArray<kj::byte>(admitted.getInvitation());
}

}  // namespace orch::control::manager
