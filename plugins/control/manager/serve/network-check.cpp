#include "serve/network-check.h"

#include <utility>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/network-queries.h"
#include "serve/resolve.h"
#include "session/network-feed.h"

namespace orch::control::manager {

namespace {

std::string withoutPrefix(std::string address) { return address.substr(0, address.find('/')); }

// `web.1`; empty if there is no such task.
std::string taskName(const State& state, std::string_view id) {
  auto object = state.find(Kind::TASK, id);
  if (object == nullptr) return "";
  TaskReader task(*object);
  return text(task.getServiceName()) + "." + nameOf(task.slot());
}

// Of whom on the network the address is.
std::string ownerOf(const State& state, const std::string& network, const std::string& address) {
  auto members = state.networks().members.find(network);
  if (members == state.networks().members.end()) return "";
  for (auto& [node, ids] : members->second) {
    for (auto& id : ids) {
      for (auto leg : TaskReader(*state.find(Kind::TASK, id)).getLegs()) {
        bool its =
            view(leg.getNetwork()) == network && withoutPrefix(text(leg.getAddress())) == address;
        if (its) return taskName(state, id);
      }
    }
  }
  for (auto& entry : state.all(Kind::SERVICE)) {
    auto service = entry.second.as<schema::Service>();
    for (auto own : service.getAddresses()) {
      bool its = view(own.getNetwork()) == network && view(own.getAddress()) == address;
      if (its) return text(service.getSpec().getName());
    }
  }
  return "";
}

std::string lastWord(const std::string& line) {
  auto space = line.rfind(' ');
  return space == std::string::npos ? line : line.substr(space + 1);
}

}  // namespace

std::string NetworkCheck::named(kj::StringPtr network, kj::StringPtr object) {
  auto& state = manager.state();
  std::string line;
  for (std::string rest = object.cStr(); !rest.empty();) {
    auto end = rest.find(' ');
    auto word = rest.substr(0, end);
    auto name = taskName(state, word);
    if (state.find(Kind::NODE, word) != nullptr) name = sessions.hostnameOf(word).cStr();
    line += (line.empty() ? "" : " ") + (name.empty() ? word : name);
    rest = end == std::string::npos ? "" : rest.substr(end + 1);
  }
  auto owner = ownerOf(state, network.cStr(), lastWord(line));
  return owner.empty() ? line : line + " (" + owner + ")";
}

// The state as it is now: the node has been sent what it was before, in the same order.
kj::Promise<NetworkCheck::Answer> NetworkCheck::ask(const std::string& nodeId,
                                                    const std::string& network, bool repair) {
  auto agent = sessions.agentOf(nodeId);
  KJ_IF_MAYBE (present, agent) {
    auto request = present->checkNetworksRequest();
    request.setNetwork(network.c_str());
    request.setRepair(repair);
    auto all = NetworkFeed().take(manager.state(), nodeId, true);
    uint32_t at = 0;
    fillNetworks(manager.state(), all, request.initExpected(all.assignments()), at);
    kj::Promise<Answer> answer = request.send();
    return env.timer().timeoutAfter(PATIENCE, kj::mv(answer));
  }
  fail(kj::str("it has no session with the manager"));
}

Task<NetworkCheck::Checked> NetworkCheck::askNode(std::string nodeId, std::string network,
                                                  bool repair) {
  auto first = kj::evalNow([&]() { return ask(nodeId, network, false); });
  auto before = co_await kj::mv(first);
  if (before.getFindings().size() == 0) co_return Checked{kj::mv(before), nullptr, nullptr};
  co_await env.timer().afterDelay(ON_ITS_WAY);
  auto second = ask(nodeId, network, repair);
  auto found = co_await kj::mv(second);
  if (!found.getUntold() || !repair) co_return Checked{kj::mv(found), kj::mv(before), nullptr};
  sessions.tellAgain(nodeId);
  co_await env.timer().afterDelay(ON_ITS_WAY);
  auto third = ask(nodeId, network, false);
  auto left = co_await kj::mv(third);
  co_return Checked{kj::mv(found), kj::mv(before), kj::mv(left)};
}

void NetworkCheck::take(const std::string& node, Checked& checked, Sum& sum) {
  auto& answer = checked.found;
  auto isIn = [](kj::Maybe<Answer>& maybe, schema::NetworkFinding::Reader one, bool otherwise) {
    KJ_IF_MAYBE (list, maybe) {
      for (auto other : list->getFindings()) {
        bool same = other.getNetwork() == one.getNetwork() && other.getObject() == one.getObject();
        if (same) return true;
      }
      return false;
    }
    return otherwise;
  };
  ++sum.nodes;
  sum.things += answer.getThings();
  for (auto one : answer.getFindings()) {
    bool repaired = one.getRepaired() || !isIn(checked.left, one, true);
    if (!repaired && !isIn(checked.before, one, true)) continue;
    auto made = manager.state().find(Kind::NETWORK, view(one.getNetwork()));
    auto network =
        made == nullptr ? text(one.getNetwork()) : text(made->as<schema::Network>().getName());
    sum.findings.push_back({node, network, named(one.getNetwork(), one.getObject()),
                            text(one.getExpected()), text(one.getFound()), repaired});
  }
  for (auto text : answer.getUnasked()) sum.missing.push_back(node + ": " + text.cStr());
}

Task<void> NetworkCheck::run(Context context) {
  auto typed = context.getParams().getId();
  bool repair = context.getParams().getRepair();
  std::string network;
  if (typed.size() > 0 && isLocalNetwork(manager.state(), typed)) {
    network = typed.cStr();
  } else if (typed.size() > 0) {
    network = resolveNetwork(View(manager.state(), env.nowNs(), Seed{}), typed);
  }
  std::vector<std::string> ids;
  for (auto& entry : manager.state().all(Kind::NODE)) ids.push_back(entry.first);
  std::vector<std::pair<std::string, Task<orch::Outcome<Checked>>>> calls;
  for (auto& id : ids) calls.emplace_back(id, attempt(askNode(id, network, repair)));
  Sum sum;
  for (auto& [id, call] : calls) {
    auto outcome = co_await kj::mv(call);
    auto node = std::string(sessions.hostnameOf(id).cStr());
    if (!outcome.ok()) {
      sum.missing.push_back(node + ": " + plainText(outcome.error()).cStr());
      continue;
    }
    take(node, outcome.value(), sum);
  }
  auto results = context.getResults();
  results.setNodes(sum.nodes);
  results.setThings(sum.things);
  auto list = results.initFindings(sum.findings.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto& one = sum.findings[i];
    list[i].setNode(one.node.c_str());
    list[i].setNetwork(one.network.c_str());
    list[i].setObject(one.object.c_str());
    list[i].setExpected(one.expected.c_str());
    list[i].setFound(one.found.c_str());
    list[i].setRepaired(one.repaired);
  }
  auto missing = results.initMissing(sum.missing.size());
  for (uint32_t i = 0; i < missing.size(); ++i) missing.set(i, sum.missing[i].c_str());
}

}  // namespace orch::control::manager
