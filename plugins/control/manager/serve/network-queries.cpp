#include "serve/network-queries.h"

#include <algorithm>
#include <vector>

#include "state/usage.h"

namespace orch::control::manager {

uint32_t addressesUsed(const State& state, std::string_view nodeId, const std::string& network) {
  uint32_t used = 0;
  for (auto& id : state.tasksOf(nodeId)) {
    TaskReader task(*state.find(Kind::TASK, id));
    auto status = task.getStatus();
    bool holds =
        status.getAddresses().size() > 0 && status.getState() < schema::TaskState::COMPLETE;
    if (!holds) continue;
    eachNetwork(task.getSpec(), [&](const std::string& name) { used += name == network; });
  }
  return used;
}

std::set<std::string> localNetworks(const State& state) {
  std::set<std::string> names = {"bridge", "host", "none"};
  for (auto& entry : state.all(Kind::NODE)) {
    for (auto pool : entry.second.as<schema::Node>().getDescription().getNetworks()) {
      names.insert(text(pool.getName()));
    }
  }
  return names;
}

bool isLocalNetwork(const State& state, kj::StringPtr name) {
  return localNetworks(state).count(name.cStr()) > 0;
}

// One that is the nodes' own has no id but its name.
void describeNetwork(const State& state, const std::string& name,
                     schema::Network::Builder network) {
  network.initMeta().setId(name.c_str());
  network.setName(name.c_str());
  network.setDriver(name == "host" || name == "none" ? name.c_str() : "bridge");
  network.setScope("local");
  uint64_t total = 0;
  uint64_t used = 0;
  bool pooled = false;
  for (auto& entry : state.all(Kind::NODE)) {
    for (auto pool : entry.second.as<schema::Node>().getDescription().getNetworks()) {
      if (view(pool.getName()) != name) continue;
      pooled = true;
      network.setDriver(pool.getDriver());
      network.setSubnet(pool.getSubnet());
      network.setGateway(pool.getGateway());
      total += pool.getTotal();
      used += addressesUsed(state, entry.first, name);
    }
  }
  if (!pooled) return;
  auto options = network.initOptions(2);
  options[0].setKey("addresses");
  options[0].setValue(kj::str(total));
  options[1].setKey("addressesUsed");
  options[1].setValue(kj::str(used));
}

namespace {

std::string hostnameOf(const State& state, std::string_view nodeId) {
  auto node = state.find(Kind::NODE, nodeId);
  if (node == nullptr) return std::string(nodeId);
  return text(node->as<schema::Node>().getDescription().getHostname());
}

void describeService(schema::Service::Reader service, schema::Network::Reader network,
                     schema::NetworkUser::Builder user) {
  user.setId(service.getMeta().getId());
  user.setName(service.getSpec().getName());
  for (auto address : service.getAddresses()) {
    if (address.getNetwork() == network.getMeta().getId()) user.setAddress(address.getAddress());
  }
  for (auto attachment : service.getSpec().getTask().getNetworks()) {
    if (attachment.getName() == network.getName()) user.setAliases(attachment.getAliases());
  }
}

void describeTask(const State& state, const TaskReader& task, schema::Network::Reader network,
                  schema::NetworkUser::Builder user) {
  user.setId(task.id().c_str());
  auto slot = task.slot();
  auto node = hostnameOf(state, view(task.getNodeId()));
  auto name = slot.number > 0 ? nameOf(slot) : node;
  user.setName((text(task.getServiceName()) + "." + name).c_str());
  user.setNode(node.c_str());
  for (auto leg : task.getLegs()) {
    if (leg.getNetwork() == network.getMeta().getId()) user.setAddress(leg.getAddress());
  }
  auto own = task.getStatus().getAddresses();  // of its node's network
  if (network.getScope() == "local" && own.size() > 0) user.setAddress(own[0]);
}

// Tasks of these services that have not ended, and have a node.
std::vector<TaskReader> tasksOf(const State& state, const std::vector<std::string>& serviceIds) {
  std::vector<TaskReader> tasks;
  for (auto& id : serviceIds) {
    auto slots = state.slots(id);
    if (slots == nullptr) continue;
    for (auto& slot : slots->all()) {
      for (auto object : slot.second.tasks) {
        TaskReader task(*object);
        if (isAssigned(task) && !isTerminal(task)) tasks.push_back(task);
      }
    }
  }
  return tasks;
}

std::vector<TaskReader> tasksOn(const State& state, const std::string& networkId) {
  std::vector<TaskReader> tasks;
  auto found = state.networks().members.find(networkId);
  if (found == state.networks().members.end()) return tasks;
  for (auto& [node, ids] : found->second) {
    for (auto& id : ids) tasks.emplace_back(*state.find(Kind::TASK, id));
  }
  return tasks;
}

}  // namespace

void describeUsers(const State& state, schema::Network::Builder network) {
  auto facts = network.asReader();
  std::map<std::string, std::string> services;  // name, id
  std::vector<std::string> ids;
  auto users = state.services().byNetwork.find(view(facts.getName()));
  if (users != state.services().byNetwork.end()) {
    for (auto& [id, count] : users->second) {
      auto service = state.find(Kind::SERVICE, id)->as<schema::Service>();
      services[text(service.getSpec().getName())] = id;
      ids.push_back(id);
    }
  }
  bool local = facts.getScope() == "local";
  auto tasks = local ? tasksOf(state, ids) : tasksOn(state, text(facts.getMeta().getId()));
  std::sort(tasks.begin(), tasks.end(), [](auto& a, auto& b) {
    auto key = [](auto& task) {
      return std::make_tuple(view(task.getServiceName()), task.slot(),
                             task.getMeta().getCreatedAtNs());
    };
    return key(a) < key(b);
  });
  auto serviceList = network.initServices(services.size());
  uint32_t i = 0;
  for (auto& [name, id] : services) {
    describeService(state.find(Kind::SERVICE, id)->as<schema::Service>(), facts, serviceList[i++]);
  }
  auto taskList = network.initTasks(tasks.size());
  for (i = 0; i < taskList.size(); ++i) describeTask(state, tasks[i], facts, taskList[i]);
}

}  // namespace orch::control::manager
