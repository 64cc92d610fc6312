#include "validate.h"

#include <algorithm>

#include "orch/fail.h"
#include "placement.h"
#include "resolve.h"
#include "usage.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_NAME = 63;
constexpr uint64_t MIN_CPU_NANOS = 1'000'000;
constexpr uint64_t MIN_MEMORY_BYTES = 4ull << 20;
constexpr uint64_t MAX_DURATION_MS = 1000ull * 3600 * 24 * 365;
constexpr uint64_t MAX_WINDOW_ATTEMPTS = 1000;  // the history has to reach as far

bool nameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string listOf(const std::vector<std::string>& names) {
  std::string list;
  for (auto& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

void checkDuration(kj::StringPtr what, uint64_t milliseconds) {
  if (milliseconds > MAX_DURATION_MS) {
    fail(kj::str("usage: ", what, " must be at most 365 days, not ", milliseconds, " ms"));
  }
}

void checkResources(schema::Resources::Reader resources) {
  auto cpu = [](kj::StringPtr what, uint64_t nanos) {
    if (nanos == 0 || nanos >= MIN_CPU_NANOS) return;
    fail(kj::str("usage: ", what, " must be at least 0.001 CPUs, not ", nanos, " billionths"));
  };
  auto memory = [](kj::StringPtr what, uint64_t bytes) {
    if (bytes == 0 || bytes >= MIN_MEMORY_BYTES) return;
    fail(kj::str("usage: ", what, " must be at least 4 MiB, not ", bytes, " bytes"));
  };
  cpu("the cpu limit", resources.getLimitCpuNanos());
  cpu("the cpu reservation", resources.getReserveCpuNanos());
  memory("the memory limit", resources.getLimitMemoryBytes());
  memory("the memory reservation", resources.getReserveMemoryBytes());
  auto exceeds = [](uint64_t reserved, uint64_t limit) { return limit != 0 && reserved > limit; };
  if (exceeds(resources.getReserveCpuNanos(), resources.getLimitCpuNanos())) {
    fail(kj::str("usage: the cpu reservation is larger than the cpu limit"));
  }
  if (exceeds(resources.getReserveMemoryBytes(), resources.getLimitMemoryBytes())) {
    fail(kj::str("usage: the memory reservation is larger than the memory limit"));
  }
  int64_t swap = resources.getMemorySwapBytes();
  if (swap < -1)
    fail(kj::str("usage: memory plus swap must be -1 (unlimited), 0 (default) or bytes, not ",
                 swap));
  if (swap > 0 && resources.getLimitMemoryBytes() == 0) {
    fail(kj::str("usage: memory plus swap needs a memory limit"));
  }
  if (swap > 0 && static_cast<uint64_t>(swap) < resources.getLimitMemoryBytes()) {
    fail(kj::str("usage: memory plus swap (", swap, " bytes) is less than the memory limit (",
                 resources.getLimitMemoryBytes(), " bytes)"));
  }
}

void checkNetworks(schema::TaskSpec::Reader task) {
  std::set<std::string> seen;
  for (auto name : task.getNetworks()) {
    if (!seen.insert(text(name)).second)
      fail(kj::str("usage: the network '", name, "' is named twice"));
  }
  for (auto alone : {"host", "none"}) {
    if (seen.count(alone) > 0 && seen.size() > 1) {
      fail(kj::str("usage: the network '", alone, "' cannot be combined with others"));
    }
  }
}

void checkPlacement(schema::Placement::Reader placement) {
  for (auto constraint : placement.getConstraints()) {
    KJ_IF_MAYBE (parsed, parseConstraint(view(constraint))) {
      if (knownConstraintKey(parsed->key)) continue;
      fail(kj::str("usage: the constraint '", constraint,
                   "' has an unknown key; there are node.id, node.hostname, ",
                   "node.ip, node.role, node.platform.os, node.platform.arch, node.labels.* and "
                   "engine.labels.*"));
    }
    fail(kj::str("usage: the constraint '", constraint, "' must be KEY==VALUE or KEY!=VALUE"));
  }
}
}  // namespace

void checkReplicas(uint32_t replicas) {
  if (replicas > MAX_REPLICAS) {
    fail(kj::str("usage: a service has at most ", MAX_REPLICAS, " replicas, not ", replicas));
  }
}

void checkName(kj::StringPtr noun, kj::StringPtr name) {
  bool valid = name.size() > 0 && name.size() <= MAX_NAME && nameChar(name[0]) &&
               std::all_of(name.begin(), name.end(),
                           [](char c) { return nameChar(c) || c == '_' || c == '.' || c == '-'; });
  if (valid) return;
  fail(kj::str("usage: the ", noun, " name '", name, "' must be 1 to ", MAX_NAME,
               " letters, digits, '_', '.' or '-', and begin with a letter or a digit"));
}

void validatePolicies(schema::ServiceSpec::Reader spec) {
  auto restart = spec.getTask().getRestart();
  if (restart.getDelayMs() < -1) {
    fail(kj::str("usage: the restart delay must not be negative, not ", restart.getDelayMs(),
                 " ms"));
  }
  if (restart.getDelayMs() > 0) checkDuration("the restart delay", restart.getDelayMs());
  checkDuration("the restart window", restart.getWindowMs());
  if (restart.getWindowMs() > 0 && restart.getMaxAttempts() > MAX_WINDOW_ATTEMPTS) {
    fail(kj::str("usage: with a restart window there are at most ", MAX_WINDOW_ATTEMPTS,
                 " attempts, not ", restart.getMaxAttempts()));
  }
  auto update = spec.getUpdate();
  checkDuration("the update delay", update.getDelayMs());
  checkDuration("the update monitor time", update.getMonitorMs());
  checkDuration("the update progress deadline", update.getProgressDeadlineMs());
  float ratio = update.getMaxFailureRatio();
  if (!(ratio >= 0 && ratio <= 1)) {
    fail(kj::str("usage: the update failure ratio must be between 0 and 1, not ", ratio));
  }
  if (update.getFailureAction() == schema::UpdateConfig::FailureAction::ROLLBACK) {
    fail(kj::str(
        "usage: the update failure action 'rollback' is not available yet; use pause or continue"));
  }
  auto log = spec.getTask().getLog();
  if (log.getMaxBytes() > 0 && log.getMaxBytes() < 4096) {
    fail(kj::str("usage: log files must be at least 4096 bytes, not ", log.getMaxBytes()));
  }
}

void validateEndpoint(schema::EndpointSpec::Reader endpoint) {
  using Mode = schema::PortSpec::PublishMode;
  std::set<uint32_t> published;
  std::set<std::pair<uint32_t, Mode>> targets;
  for (auto port : endpoint.getPorts()) {
    auto protocol = port.getProtocol() == schema::PortSpec::Protocol::TCP ? "tcp" : "udp";
    if (port.getTarget() == 0)
      fail(kj::str("usage: a published port needs a target port of 1 to 65535"));
    if (port.getMode() == Mode::INGRESS &&
        endpoint.getMode() == schema::EndpointSpec::Mode::DNSRR) {
      fail(kj::str("usage: port ", port.getTarget(), "/", protocol,
                   " cannot be published in mode ingress with endpoint mode dnsrr; use mode=host"));
    }
    if (port.getPublished() == 0) {
      bool twice =
          !targets.insert({portKey(port.getProtocol(), port.getTarget()), port.getMode()}).second;
      if (twice)
        fail(kj::str("usage: port ", port.getTarget(), "/", protocol, " is published twice"));
    } else if (!published.insert(portKey(port.getProtocol(), port.getPublished())).second) {
      fail(kj::str("usage: port ", port.getPublished(), "/", protocol,
                   " is published twice in this service"));
    }
  }
}

void validateAgainstNodes(const View& view, schema::ServiceSpec::Reader spec, const Offer& offer,
                          std::vector<std::string>& warnings) {
  auto task = spec.getTask();
  auto strategy = task.getPlacement().getStrategy();
  auto has = [](const std::vector<std::string>& names, capnp::Text::Reader name) {
    return std::find(names.begin(), names.end(), name.cStr()) != names.end();
  };
  if (strategy.size() > 0 && offer.strategiesKnown && !has(offer.strategies, strategy)) {
    fail(kj::str("usage: no placement strategy '", strategy, "'",
                 suggestion(manager::view(strategy), offer.strategies).c_str(), "; there is ",
                 listOf(offer.strategies).c_str()));
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
  std::vector<std::string> known(networks.begin(), networks.end());
  for (auto name : task.getNetworks()) {
    if (networks.count(text(name)) > 0) continue;
    fail(kj::str("usage: no network '", name, "'", suggestion(manager::view(name), known).c_str(),
                 "; there is ", listOf(known).c_str()));
  }
  if (nodes.empty()) return;  // nobody can say yet
  std::vector<std::string> offered(runtimes.begin(), runtimes.end());
  if (task.getRuntime().size() > 0 && !has(offered, task.getRuntime())) {
    fail(kj::str("usage: no node has the runtime '", task.getRuntime(), "'",
                 suggestion(manager::view(task.getRuntime()), offered).c_str(), "; there is ",
                 listOf(offered).c_str()));
  }
  auto resources = task.getResources();
  if (resources.getReserveCpuNanos() > mostCpu) {
    warnings.push_back("no node has as much cpu as one task reserves; the tasks wait");
  }
  if (resources.getReserveMemoryBytes() > mostMemory) {
    warnings.push_back("no node has as much memory as one task reserves; the tasks wait");
  }
}

void validateSpec(const View& view, schema::ServiceSpec::Reader spec, const Offer& offer,
                  std::vector<std::string>& warnings) {
  size_t bytes = spec.totalSize().wordCount * sizeof(capnp::word);
  size_t most = std::min(offer.maxObjectBytes, MAX_SPEC_BYTES);
  if (bytes > most) {
    fail(kj::str("usage: the service's description is too large: ", bytes, " bytes, at most ",
                 most));
  }
  checkName("service", spec.getName());
  if (spec.getMode().isGlobal()) {
    fail(kj::str("usage: the mode 'global' is not available yet; use replicated"));
  }
  if (!spec.getMode().isReplicated()) fail(kj::str("usage: unknown service mode; use replicated"));
  checkReplicas(spec.getMode().getReplicated().getReplicas());
  validateContainer(spec.getTask().getContainer());
  validateMounts(spec.getTask().getContainer());
  checkResources(spec.getTask().getResources());
  checkNetworks(spec.getTask());
  checkPlacement(spec.getTask().getPlacement());
  validatePolicies(spec);
  validateEndpoint(spec.getEndpoint());
  validateAgainstNodes(view, spec, offer, warnings);
}

}  // namespace orch::control::manager
