#include "serve/validate.h"

#include <kj/encoding.h>

#include <algorithm>

#include "decide/dependencies.h"
#include "decide/mode.h"
#include "lib/task-template.h"
#include "orch/fail.h"
#include "schedule/placement.h"
#include "serve/resolve.h"
#include "state/usage.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_SERVICE_NAME = 63;

bool nameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// What there is to choose from instead, and what was meant.
std::string thereIs(std::string_view typed, const std::vector<std::string>& names) {
  std::string list;
  for (auto& name : names) list += (list.empty() ? "" : ", ") + name;
  // A network without isolation, or none, is never what was meant by another name.
  std::vector<std::string> likely;
  for (auto& name : names) {
    if (name != "host" && name != "none") likely.push_back(name);
  }
  return "; there is " + (list.empty() ? "none" : list) + suggestion(typed, likely);
}

std::string listed(const std::set<std::string>& names) {
  std::string list;
  for (auto& name : names) list += (list.empty() ? "'" : ", '") + name + "'";
  return list;
}

void checkNetworks(const View& view, schema::TaskSpec::Reader task) {
  std::set<std::string> seen;
  std::set<std::string> local;  // networks of the nodes, of which a task has one
  for (auto network : task.getNetworks()) {
    refuseIf(!seen.insert(text(network.getName())).second, "--network '", network.getName(),
             "' is given twice");
    if (!view.networkNamed(manager::view(network.getName())).empty()) {
      for (auto alias : network.getAliases()) checkName("alias", alias);
      continue;
    }
    local.insert(text(network.getName()));
    refuseIf(network.getAliases().size() > 0, "--network '", network.getName(),
             "' knows no names: an alias is for networks that span hosts");
  }
  for (auto alone : {"host", "none"}) {
    refuseIf(seen.count(alone) > 0 && seen.size() > 1, "--network '", alone,
             "' cannot be combined with others");
  }
  bool spans = seen.size() > local.size();
  if (spans) local.erase("bridge");  // which is beside them in any case
  if (spans && !local.empty()) {
    fail(kj::str("usage: beside networks that span hosts a task has 'bridge' of its node, and not ",
                 listed(local).c_str()));
  }
  if (local.size() > 1) {
    fail(kj::str("usage: a task has one network of its node: choose one of ",
                 listed(local).c_str()));
  }
}

constexpr const char* NODE_KEYS =
    "node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, node.cpus, "
    "node.memory, node.labels.* and engine.labels.*";
constexpr const char* SERVICE_KEYS =
    "service.name, service.image, service.labels.* and container.labels.*";

// Filters have said what the terms look at, if they were asked.
void checkPlacement(const View& view, schema::Placement::Reader placement) {
  eachTerm(view.base().verdicts(), placement, [](Term& term) {
    bool ofNode = term.subject == Term::Subject::NODE;
    for (auto& key : term.keys) {
      refuseIf(ofNode ? !knownNodeKey(key) : !knownServiceKey(key), "the ", term.filter.c_str(),
               " '", term.expression.c_str(), "' has the unknown key '", key.c_str(),
               "'; there are ", ofNode ? NODE_KEYS : SERVICE_KEYS);
    }
  });
  for (auto label : placement.getSpreadOver()) {
    bool known = knownNodeKey(manager::view(label)) && strstr(label.cStr(), ".labels.") != nullptr;
    refuseIf(!known, "--placement-pref spread=", label,
             " must name a label: spread=node.labels.KEY or spread=engine.labels.KEY");
  }
}
// What is not UTF-8 cannot be shown as JSON, and a NUL would cut a text short. Names and paths with
// rules of their own are not here.
void checkTexts(schema::ServiceSpec::Reader spec) {
  auto container = spec.getTask().getContainer();
  auto check = [](kj::StringPtr flag, capnp::Text::Reader value) {
    refuseIf(kj::encodeUtf32(value).hadErrors, "a value of ", flag, " is not valid UTF-8");
    // A program would get what is before it.
    refuseIf(value.findFirst('\0') != nullptr, "a value of ", flag, " has a NUL byte in it");
  };
  auto checkAll = [&](kj::StringPtr flag, capnp::List<capnp::Text>::Reader values) {
    for (auto value : values) check(flag, value);
  };
  auto checkPairs = [&](kj::StringPtr flag, capnp::List<schema::KeyValue>::Reader pairs) {
    for (auto pair : pairs) {
      check(flag, pair.getKey());
      check(flag, pair.getValue());
    }
  };
  checkPairs("--label", spec.getLabels());
  checkPairs("--container-label", container.getLabels());
  checkPairs("--sysctl", container.getSysctls());
  checkAll("--env", container.getEnv());
  checkAll("--entrypoint", container.getCommand());
  checkAll("--args", container.getArgs());
  checkAll("--group", container.getGroups());
  checkAll("--host", container.getHosts());
  checkAll("--dns-search", container.getDnsSearch());
  checkAll("--dns-option", container.getDnsOptions());
  checkAll("--constraint", spec.getTask().getPlacement().getConstraints());
  checkAll("--filter", spec.getTask().getPlacement().getFilters());
  checkAll("--placement-pref", spec.getTask().getPlacement().getSpreadOver());
  check("--schedule", spec.getSchedule());
  check("--user", container.getUser());
  check("--workdir", container.getWorkdir());
  for (auto mount : container.getMounts()) {
    check("--mount", mount.getSource());
    check("--mount", mount.getTarget());
  }
}
}  // namespace

void checkReplicas(uint32_t replicas) {
  refuseIf(replicas > MAX_REPLICAS, "a service has at most ", MAX_REPLICAS, " replicas, not ",
           replicas);
}

void checkName(kj::StringPtr noun, kj::StringPtr name) {
  bool valid = name.size() > 0 && name.size() <= MAX_SERVICE_NAME && nameChar(name[0]) &&
               std::all_of(name.begin(), name.end(),
                           [](char c) { return nameChar(c) || c == '_' || c == '.' || c == '-'; });
  if (valid) return;
  fail(kj::str("usage: the ", noun, " name '", name, "' must be 1 to ", MAX_SERVICE_NAME,
               " letters, digits, '_', '.' or '-', and begin with a letter or a digit"));
}

void checkStrategy(kj::StringPtr flag, kj::StringPtr strategy,
                   const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), strategy.cStr()) != known.end()) return;
  fail(kj::str("usage: no scheduler '", strategy, "' for ", flag,
               thereIs(strategy.cStr(), known).c_str()));
}

void checkFilter(kj::StringPtr flag, kj::StringPtr filter, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), filter.cStr()) != known.end()) return;
  fail(
      kj::str("usage: no filter '", filter, "' for ", flag, thereIs(filter.cStr(), known).c_str()));
}

void validateAgainstNodes(const View& view, schema::ServiceSpec::Reader spec, const Offer& offer,
                          std::vector<std::string>& warnings) {
  auto task = spec.getTask();
  auto strategy = task.getPlacement().getStrategy();
  auto has = [](const std::vector<std::string>& names, capnp::Text::Reader name) {
    return std::find(names.begin(), names.end(), name.cStr()) != names.end();
  };
  if (strategy.size() > 0 && offer.strategiesKnown) {
    checkStrategy("--strategy", strategy, offer.strategies);
  }
  std::set<std::string> runtimes;
  std::set<std::string> networks = {"bridge", "host", "none"};
  uint64_t mostCpu = 0;
  uint64_t mostMemory = 0;
  auto nodes = view.nodes();
  for (auto node : nodes) {
    auto description = node.getDescription();
    for (auto name : description.getRuntimes()) runtimes.insert(text(name));
    for (auto pool : description.getNetworks()) networks.insert(text(pool.getName()));
    mostCpu = std::max(mostCpu, description.getCpuNanos());
    mostMemory = std::max(mostMemory, description.getMemoryBytes());
  }
  for (auto& name : view.networkNames()) networks.insert(name);
  std::vector<std::string> known(networks.begin(), networks.end());
  for (auto network : task.getNetworks()) {
    auto name = network.getName();
    if (networks.count(text(name)) > 0) continue;
    fail(kj::str("usage: no network '", name, "' for --network",
                 thereIs(manager::view(name), known).c_str()));
  }
  if (nodes.empty()) return;  // nobody can say yet
  std::vector<std::string> offered(runtimes.begin(), runtimes.end());
  if (task.getRuntime().size() > 0 && !has(offered, task.getRuntime())) {
    fail(kj::str("usage: no node has the runtime '", task.getRuntime(), "' of --runtime",
                 thereIs(manager::view(task.getRuntime()), offered).c_str()));
  }
  auto resources = task.getResources();
  if (resources.getReserveCpuNanos() > mostCpu) {
    warnings.push_back("no node has as much cpu as one task reserves; the tasks wait");
  }
  if (resources.getReserveMemoryBytes() > mostMemory) {
    warnings.push_back("no node has as much memory as one task reserves; the tasks wait");
  }
  for (auto wanted : resources.getGeneric()) {
    auto kind = manager::view(wanted.getKind());
    uint64_t most = 0;
    for (auto node : nodes) {
      most = std::max(most, amountOf(node.getDescription().getGeneric(), kind));
    }
    if (most >= wanted.getAmount()) continue;
    warnings.push_back(
        (most == 0 ? "no node has any " + std::string(kind)
                   : "no node has more than " + std::to_string(most) + " " + std::string(kind)) +
        " under [node] resources; the tasks wait");
  }
}

void validateSpec(const View& view, schema::ServiceSpec::Reader spec, const Offer& offer,
                  std::vector<std::string>& warnings) {
  checkPortCount(spec.getEndpoint());
  size_t bytes = spec.totalSize().wordCount * sizeof(capnp::word);
  size_t most = std::min(offer.maxObjectBytes, MAX_SPEC_BYTES);
  refuseIf(bytes > most, "the service's description is too large: ", bytes, " bytes, at most ",
           most);
  checkName("service", spec.getName());
  checkTexts(spec);
  refuseIf(modeOf(spec) == nullptr,
           "unknown service mode; use replicated, global, replicated-job or global-job");
  bool limited = spec.getTask().getPlacement().getMaxReplicasPerNode() > 0;
  refuseIf(
      isByNode(spec) && spec.getTask().getPlacement().getTolerateDownMs() > 0,
      "--tolerate-down is for replicated services: the task of a global one stays with its node");
  refuseIf(isByNode(spec) && limited,
           "--replicas-max-per-node is for replicated services: a global one has one task on each "
           "node");
  checkReplicas(replicasOf(spec).orDefault(0));
  // Templates are checked as they would be filled in.
  capnp::MallocMessageBuilder filled;
  auto task = spec.getTask();
  if (hasTemplates(task.getContainer())) {
    filled.setRoot(task);
    tryTemplates(filled.getRoot<schema::TaskSpec>().getContainer(), spec.getName(),
                 spec.getLabels());
    task = filled.getRoot<schema::TaskSpec>().asReader();
  }
  validateContainer(task);
  validateMounts(task.getContainer());
  validateResources(spec.getTask().getResources());
  checkNetworks(view, spec.getTask());
  checkPlacement(view, spec.getTask().getPlacement());
  validatePolicies(spec);
  validateJob(spec);
  validateEndpoint(spec);
  validateAgainstNodes(view, spec, offer, warnings);
  checkDependencies(view, spec, warnings);
  auto only = onlyOneOf(spec);
  bool startFirst = spec.getUpdate().getOrder() == schema::UpdateConfig::Order::START_FIRST;
  if (startFirst && !only.empty()) {
    warnings.push_back(
        "only one task can have " + only +
        ": an update stops the old one first, in spite of --update-order start-first");
  }
}

}  // namespace orch::control::manager
