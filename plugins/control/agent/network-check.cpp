// Of the agent: whether the node's networks are as they should be. Its plugins know what the kernel
// has; what the plugins lack of its tasks, and it itself of what the managers have, the agent
// knows.
#include "agent.h"
#include "told-check.h"

namespace orch::control::agent {

namespace {
// How long a plugin has for what it was told.
constexpr kj::Duration SETTLE_PATIENCE = 2 * kj::SECONDS;
constexpr kj::Duration CHECK_PATIENCE = 12 * kj::SECONDS;
}  // namespace

struct NodeAgent::NetworkSum {
  struct Found {
    std::string network, object, expected, found;
    bool repaired = false;
  };
  uint32_t things = 0;
  std::vector<Found> findings;
  std::vector<std::string> unasked;
  TaskController::Holders holders;

  void add(const std::string& plugin, schema::NetworkChecker::CheckResults::Reader answer) {
    things += answer.getThings();
    for (auto one : answer.getFindings()) {
      findings.push_back({one.getNetwork().cStr(), one.getObject().cStr(), one.getExpected().cStr(),
                          one.getFound().cStr(), one.getRepaired()});
    }
    auto& held = holders[plugin];
    for (auto one : answer.getMembers()) {
      held.insert({one.getNetwork().cStr(), one.getId().cStr()});
    }
  }
  void write(schema::Agent::CheckNetworksResults::Builder results) const {
    results.setThings(things);
    auto list = results.initFindings(findings.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setNetwork(findings[i].network.c_str());
      list[i].setObject(findings[i].object.c_str());
      list[i].setExpected(findings[i].expected.c_str());
      list[i].setFound(findings[i].found.c_str());
      list[i].setRepaired(findings[i].repaired);
    }
    auto texts = results.initUnasked(unasked.size());
    for (uint32_t i = 0; i < texts.size(); ++i) texts.set(i, unasked[i].c_str());
  }
};

ToldThings NodeAgent::toldThings() const {
  ToldThings things;
  services.networks.describe(things);
  services.mesh.describe(things);
  return things;
}

Task<void> NodeAgent::checkNetworks(CheckNetworksContext context) {
  auto params = context.getParams();
  std::string network = params.getNetwork().cStr();
  bool repair = params.getRepair();
  NetworkSum sum;
  // Before anything is waited for: what a manager said before this call has been heard.
  auto untold = compareTold(thingsOf(params.getExpected()), toldThings(), network, sum.things);
  for (auto& one : untold) {
    sum.findings.push_back({one.thing.network, one.thing.object, one.thing.what, one.found});
  }
  co_await askNetworkPlugins(network, repair, sum);
  co_await checkTasks(network, repair, sum);
  context.getResults().setUntold(!untold.empty());
  sum.write(context.getResults());
}

Task<void> NodeAgent::askNetworkPlugins(std::string network, bool repair, NetworkSum& sum) {
  auto settling = services.networks.settled();
  auto inForce = co_await attempt(env.timer().timeoutAfter(SETTLE_PATIENCE, kj::mv(settling)));
  if (!inForce.ok()) sum.unasked.push_back("a plugin has not yet taken what it was told");

  using Answer = capnp::Response<schema::NetworkChecker::CheckResults>;
  std::vector<std::pair<std::string, Task<Outcome<Answer>>>> calls;
  auto plugins = co_await services.running("network.");
  for (auto& name : plugins) {
    auto request = services.checker(name).checkRequest(SMALL);
    request.setNetwork(network.c_str());
    request.setRepair(repair);
    kj::Promise<Answer> call = request.send();
    auto asked = attempt(env.timer().timeoutAfter(CHECK_PATIENCE, kj::mv(call)));
    calls.emplace_back(name.cStr(), kj::mv(asked));
  }
  for (auto& [name, call] : calls) {
    auto outcome = co_await kj::mv(call);
    if (outcome.ok()) {
      sum.add(name, outcome.value());
      continue;
    }
    // One that knows of no such call has nothing to say.
    if (outcome.error().getType() == kj::Exception::Type::UNIMPLEMENTED) continue;
    sum.unasked.push_back(name + ": " + plainText(outcome.error()).cStr());
  }
}

Task<void> NodeAgent::checkTasks(std::string network, bool repair, NetworkSum& sum) {
  std::vector<std::string> ids;
  for (auto& entry : controllers) ids.push_back(entry.first);
  for (auto& id : ids) {
    auto known = controllers.find(id);
    if (known == controllers.end() || leaving.count(id) > 0) continue;
    auto lacks = known->second->lacksOf(sum.holders, network, sum.things);
    if (lacks.empty()) continue;
    bool repaired = false;
    if (repair) {
      auto mended = co_await attempt(known->second->reconnect(lacks));
      repaired = mended.ok();
    }
    for (auto& lack : lacks) {
      auto object = "entry of task " + id + " in " + lack.plugin;
      sum.findings.push_back({lack.network, object, "present", "", repaired});
    }
  }
}

}  // namespace orch::control::agent
