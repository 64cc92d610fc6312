// Workers that have no session are told where the managers are. A worker goes by the addresses that
// it knows; one that was away when the only manager got another one would look for it for ever.
#include "orch/attempt.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/schema/trust.capnp.h"
#include "session/connection.h"

namespace orch::control::manager {

namespace {
constexpr kj::Duration LOOK_EVERY = 1 * kj::SECONDS;
constexpr kj::Duration CALL_LIMIT = 5 * kj::SECONDS;
// Before the first call of one: usually it comes by itself. Then they grow.
constexpr uint64_t FIRST_PAUSE_MS = 2'000;
constexpr uint64_t LAST_PAUSE_MS = 60'000;
constexpr size_t CALLS_AT_ONCE = 8;
}  // namespace

Task<void> Sessions::keepCalling() {
  for (;;) {
    co_await env.timer().afterDelay(LOOK_EVERY);
    kj::Vector<kj::Promise<void>> all;
    for (auto& address : toCall(env.timer().now())) {
      auto asking = call(address).promise();
      auto limited = env.timer().timeoutAfter(CALL_LIMIT, kj::mv(asking));
      all.add(limited.catch_([](kj::Exception&&) {}));  // it is off, or without orchd
    }
    auto done = kj::joinPromises(all.releaseAsArray());
    co_await done;
  }
}

std::vector<std::string> Sessions::toCall(kj::TimePoint now) {
  std::vector<std::string> addresses;
  if (!members.isMember()) return addresses;
  for (auto& [id, object] : manager.state().all(Kind::NODE)) {
    auto node = object.as<schema::Node>();
    bool lost = open(id) == nullptr && !hasLeft(node) && !manager.state().isManager(id);
    if (!lost || node.getAddress().size() == 0) {
      calls.erase(id);
      continue;
    }
    auto& next = calls[id];
    if (next.pauseMs != 0 && (now < next.due || addresses.size() == CALLS_AT_ONCE)) continue;
    if (next.pauseMs != 0) addresses.push_back(text(node.getAddress()));
    next.pauseMs = next.pauseMs == 0 ? FIRST_PAUSE_MS : kj::min(2 * next.pauseMs, LAST_PAUSE_MS);
    next.due = now + next.pauseMs * kj::MILLISECONDS;
  }
  std::erase_if(
      calls, [&](auto& entry) { return manager.state().find(Kind::NODE, entry.first) == nullptr; });
  return addresses;
}

Task<void> Sessions::call(std::string address) {
  auto reaching = host.service<schema::Trust>("trust").reachRequest();
  reaching.setAddress(address.c_str());
  reaching.setRole(schema::Role::WORKER);
  auto reached = co_await reaching.send();
  auto finding = reached.getGateway().castAs<schema::Gateway>().serviceRequest();
  finding.setName("contact");
  auto found = co_await finding.send();
  auto contact = found.getCapability().castAs<schema::Contact>();
  auto telling = contact.managersRequest();
  auto addresses = members.managerAddresses();
  auto list = telling.initAddresses(addresses.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, addresses[i].c_str());
  co_await telling.send().ignoreResult();
}

}  // namespace orch::control::manager
