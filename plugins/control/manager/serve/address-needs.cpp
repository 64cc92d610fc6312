#include "serve/address-needs.h"

#include <algorithm>

#include "decide/address-allocator.h"
#include "decide/slot-rules.h"
#include "orch/fail.h"
#include "schedule/placement.h"

namespace orch::control::manager {

namespace {

// Of one network.
struct Need {
  uint64_t tasks = 0;
  uint64_t virtualAddresses = 0;
  uint64_t surplus = 0;  // while an update that starts first is under way
  uint64_t total() const { return tasks + virtualAddresses + surplus; }
};

bool isOn(schema::ServiceSpec::Reader spec, const std::string& network) {
  bool found = false;
  eachNetwork(spec.getTask(), [&](const std::string& name) { found |= name == network; });
  return found;
}

// Of a global service on each node that can have it: one that is drained or down may come back.
uint64_t tasksOf(const View& view, schema::ServiceSpec::Reader spec,
                 schema::Network::Reader network) {
  KJ_IF_MAYBE (replicas, tasksAtOnce(spec)) return *replicas;
  auto driver = kj::str("network.", network.getDriver());
  uint64_t nodes = 0;
  view.anyNode([&](schema::Node::Reader node) {
    bool has = false;
    for (auto id : node.getDescription().getPlugins()) has |= id == driver;
    nodes += has && mayMeetTerms(view, node, spec.getTask());
    return false;
  });
  return nodes;
}

Need needOf(const View& view, schema::ServiceSpec::Reader spec, schema::Network::Reader network) {
  Need need;
  if (!isOn(spec, text(network.getName()))) return need;
  need.tasks = tasksOf(view, spec, network);
  need.virtualAddresses = spec.getEndpoint().getMode() == schema::EndpointSpec::Mode::VIP ? 1 : 0;
  auto update = spec.getUpdate();
  bool startFirst = update.getOrder() == schema::UpdateConfig::Order::START_FIRST;
  if (!startFirst || !onlyOneOf(spec).empty()) return need;
  auto atOnce = update.getParallelism() == 0 ? need.tasks : update.getParallelism();
  need.surplus = std::min<uint64_t>(atOnce, need.tasks);
  return need;
}

kj::String counted(uint64_t count, kj::StringPtr one, kj::StringPtr many) {
  return kj::str(count, " ", count == 1 ? one : many);
}

void checkMade(const View& view, schema::Network::Reader network, const Need& need,
               schema::ServiceSpec::Reader spec) {
  auto name = text(network.getName());
  uint64_t others = 0;
  for (auto& other : view.servicesOn(name)) {
    if (other == spec.getName().cStr()) continue;
    auto service = KJ_ASSERT_NONNULL(view.service(view.serviceNamed(other)));
    others += needOf(view, service.getSpec(), network).total();
  }
  auto capacity = capacityOf(network);
  auto needed = need.total() + others;
  if (needed <= capacity) return;
  auto parts = counted(need.tasks, "task", "tasks");
  if (need.virtualAddresses > 0) parts = kj::str(parts, ", the service itself");
  if (need.surplus > 0) {
    parts = kj::str(parts, ", ", need.surplus, " more while an update starts first");
  }
  if (others > 0) parts = kj::str(parts, ", ", others, " of other services");
  fail(kj::str("network '", name.c_str(), "' has ", counted(capacity, "address", "addresses"),
               " for tasks, but ", needed, " would be needed (", parts,
               "); use fewer tasks or a network with a larger subnet"));
}

// Each node's own: what the nodes have of it together.
void checkLocal(const View& view, const std::string& network, schema::ServiceSpec::Reader spec,
                kj::Maybe<schema::ServiceSpec::Reader> before) {
  uint64_t total = 0;
  bool limited = false;
  for (auto node : view.nodes()) {
    for (auto pool : node.getDescription().getNetworks()) {
      if (manager::view(pool.getName()) != network) continue;
      limited = true;
      total += pool.getTotal();
    }
  }
  auto replicas = tasksAtOnce(spec).orDefault(0);
  uint32_t had = 0;
  KJ_IF_MAYBE (old, before) {
    if (isOn(*old, network)) had = tasksAtOnce(*old).orDefault(0);
  }
  int64_t needed = view.replicasOnNetwork(network) + replicas - had;
  if (limited && replicas > had && needed > static_cast<int64_t>(total)) {
    fail(kj::str("network '", network.c_str(), "' has ", total, " addresses for tasks, but ",
                 needed, " would be needed; use fewer replicas or a larger subnet"));
  }
}

}  // namespace

void checkAddresses(const View& view, schema::ServiceSpec::Reader spec,
                    kj::Maybe<schema::ServiceSpec::Reader> before) {
  eachNetwork(spec.getTask(), [&](const std::string& name) {
    KJ_IF_MAYBE (network, view.network(view.networkNamed(name))) {
      auto need = needOf(view, spec, *network);
      KJ_IF_MAYBE (old, before) {
        if (need.total() <= needOf(view, *old, *network).total()) return;
      }
      checkMade(view, *network, need, spec);
    } else {
      checkLocal(view, name, spec, before);
    }
  });
}

}  // namespace orch::control::manager
