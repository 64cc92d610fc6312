// The parts of a spec that are about the service rather than its containers.
#include <capnp/message.h>

#include <set>

#include "decide/cron.h"
#include "orch/amounts.h"
#include "orch/fail.h"
#include "orch/generic-resources.h"
#include "serve/validate.h"
#include "state/usage.h"

namespace orch::control::manager {

namespace {
constexpr uint64_t MIN_CPU_NANOS = 1'000'000;
constexpr uint64_t MIN_MEMORY_BYTES = 4ull << 20;
constexpr uint64_t MAX_DURATION_MS = 1000ull * 3600 * 24 * 365;
constexpr uint64_t MAX_WINDOW_ATTEMPTS = 1000;  // the history has to reach as far
constexpr uint64_t MIN_PERSISTENCE_MS = 1000;   // what IPVS counts in
constexpr uint64_t MAX_PERSISTENCE_MS = 1000ull * 3600 * 24 * 30;
constexpr uint32_t MAX_PORTS = 1024;  // each is a rule on the node, and in all its tables

void checkDuration(kj::StringPtr flag, uint64_t milliseconds) {
  refuseIf(milliseconds > MAX_DURATION_MS, flag, " must be at most ", durationText(MAX_DURATION_MS),
           ", not ", durationText(milliseconds));
}

// A virtual address is what these are about.
void validateBalancing(schema::EndpointSpec::Reader endpoint) {
  bool rotated = endpoint.getMode() == schema::EndpointSpec::Mode::DNSRR;
  bool usual = endpoint.getAlgorithm() == schema::EndpointSpec::Algorithm::RR;
  uint64_t persistenceMs = endpoint.getPersistenceMs();
  refuseIf(rotated && !usual,
           "--lb-algorithm cannot be combined with --endpoint-mode dnsrr: clients choose there");
  refuseIf(rotated && persistenceMs > 0,
           "--lb-persistence cannot be combined with --endpoint-mode dnsrr: clients choose there");
  bool good = persistenceMs >= MIN_PERSISTENCE_MS && persistenceMs <= MAX_PERSISTENCE_MS;
  refuseIf(persistenceMs > 0 && !good, "--lb-persistence must be 0s, or ",
           durationText(MIN_PERSISTENCE_MS), " to ", durationText(MAX_PERSISTENCE_MS), ", not ",
           durationText(persistenceMs));
}

bool isDefault(schema::UpdateConfig::Reader policy) {
  capnp::MallocMessageBuilder message;
  auto none = message.initRoot<schema::UpdateConfig>().asReader();
  return capnp::canonicalize(policy).asBytes() == capnp::canonicalize(none).asBytes();
}

void validateRollout(kj::StringPtr flags, schema::UpdateConfig::Reader policy) {
  checkDuration(kj::str(flags, "-delay"), policy.getDelayMs());
  checkDuration(kj::str(flags, "-monitor"), policy.getMonitorMs());
  checkDuration(kj::str(flags, "-progress-deadline"), policy.getProgressDeadlineMs());
  float ratio = policy.getMaxFailureRatio();
  refuseIf(!(ratio >= 0 && ratio <= 1), flags, "-max-failure-ratio must be between 0 and 1, not ",
           ratio);
}
}  // namespace

namespace {
void validateGeneric(GenericResources::Reader wishes) {
  refuseIf(wishes.size() > MAX_RESOURCE_KINDS, "--generic-resource has ", wishes.size(),
           " kinds, at most ", MAX_RESOURCE_KINDS);
  std::set<std::string> kinds;
  for (auto wish : wishes) {
    auto kind = text(wish.getKind());
    refuseIf(!isResourceKind(kind), "--generic-resource '", wish.getKind(),
             "' is no kind of resource; accepted: ", RESOURCE_KINDS);
    refuseIf(wish.getNames().size() > 0, "--generic-resource ", wish.getKind(),
             ": a service says how many it wants, not which");
    refuseIf(wish.getAmount() == 0 || wish.getAmount() > MAX_RESOURCE_AMOUNT, "--generic-resource ",
             wish.getKind(), " must be from 1 to ", MAX_RESOURCE_AMOUNT, ", not ",
             wish.getAmount());
    refuseIf(!kinds.insert(kind).second, "--generic-resource ", wish.getKind(),
             " is there twice; write each kind once");
  }
}
}  // namespace

void validateResources(schema::Resources::Reader resources) {
  validateGeneric(resources.getGeneric());
  auto cpu = [](kj::StringPtr flag, uint64_t nanos) {
    if (nanos == 0 || nanos >= MIN_CPU_NANOS) return;
    fail(kj::str("usage: ", flag, " must be at least 0.001 cores, not ", coresText(nanos)));
  };
  auto memory = [](kj::StringPtr flag, uint64_t bytes) {
    if (bytes == 0 || bytes >= MIN_MEMORY_BYTES) return;
    fail(kj::str("usage: ", flag, " must be at least 4m, not ", sizeText(bytes)));
  };
  cpu("--limit-cpu", resources.getLimitCpuNanos());
  cpu("--reserve-cpu", resources.getReserveCpuNanos());
  memory("--limit-memory", resources.getLimitMemoryBytes());
  memory("--reserve-memory", resources.getReserveMemoryBytes());
  auto exceeds = [](uint64_t reserved, uint64_t limit) { return limit != 0 && reserved > limit; };
  refuseIf(exceeds(resources.getReserveCpuNanos(), resources.getLimitCpuNanos()), "--reserve-cpu ",
           coresText(resources.getReserveCpuNanos()), " is larger than --limit-cpu ",
           coresText(resources.getLimitCpuNanos()));
  refuseIf(exceeds(resources.getReserveMemoryBytes(), resources.getLimitMemoryBytes()),
           "--reserve-memory ", sizeText(resources.getReserveMemoryBytes()),
           " is larger than --limit-memory ", sizeText(resources.getLimitMemoryBytes()));
  int64_t swap = resources.getMemorySwapBytes();
  refuseIf(swap < -1, "--memory-swap must be -1 (unlimited), 0 (default) or a size, not ", swap);
  refuseIf(swap > 0 && resources.getLimitMemoryBytes() == 0, "--memory-swap ", sizeText(swap),
           ", which is memory plus swap, needs --limit-memory");
  refuseIf(swap > 0 && static_cast<uint64_t>(swap) < resources.getLimitMemoryBytes(),
           "--memory-swap ", sizeText(swap),
           ", which is memory plus swap, is less than --limit-memory ",
           sizeText(resources.getLimitMemoryBytes()));
}

void validatePolicies(schema::ServiceSpec::Reader spec) {
  auto restart = spec.getTask().getRestart();
  refuseIf(restart.getDelayMs() < -1, "--restart-delay must not be negative, not ",
           restart.getDelayMs(), "ms");
  if (restart.getDelayMs() > 0) checkDuration("--restart-delay", restart.getDelayMs());
  checkDuration("--restart-window", restart.getWindowMs());
  refuseIf(restart.getWindowMs() > 0 && restart.getMaxAttempts() > MAX_WINDOW_ATTEMPTS,
           "--restart-max-attempts must be at most ", MAX_WINDOW_ATTEMPTS,
           " with --restart-window, not ", restart.getMaxAttempts());
  validateRollout("--update", spec.getUpdate());
  validateRollout("--rollback", spec.getRollback());
  refuseIf(spec.getRollback().getFailureAction() == schema::UpdateConfig::FailureAction::ROLLBACK,
           "--rollback-failure-action must be pause or continue, not rollback");
  checkDuration("--tolerate-down", spec.getTask().getPlacement().getTolerateDownMs());
  auto log = spec.getTask().getLog();
  refuseIf(log.getMaxBytes() > 0 && log.getMaxBytes() < 4096,
           "--log-opt max-size must be at least 4k, not ", sizeText(log.getMaxBytes()));
}

void validateJob(schema::ServiceSpec::Reader spec) {
  if (!isJob(spec)) {
    refuseIf(spec.getSchedule().size() > 0,
             "--schedule is for jobs: --mode replicated-job or global-job");
    return;
  }
  if (spec.getSchedule().size() > 0) Cron::parse(view(spec.getSchedule()));
  refuseIf(spec.getTask().getRestart().getCondition() == schema::RestartPolicy::Condition::ANY,
           "--restart-condition any is not for jobs, whose tasks end: use on-failure or none");
  refuseIf(!isDefault(spec.getUpdate()) || !isDefault(spec.getRollback()),
           "--update-* and --rollback-* are not for jobs: a change makes all their tasks anew");
}

void checkPortCount(schema::EndpointSpec::Reader endpoint) {
  refuseIf(endpoint.getPorts().size() > MAX_PORTS, "--publish: a service publishes at most ",
           MAX_PORTS, " ports, not ", endpoint.getPorts().size());
}

void validateEndpoint(schema::ServiceSpec::Reader spec) {
  using Mode = schema::PortSpec::PublishMode;
  auto endpoint = spec.getEndpoint();
  for (auto attachment : spec.getTask().getNetworks()) {
    auto network = attachment.getName();
    if (endpoint.getPorts().size() == 0 || (network != "host" && network != "none")) continue;
    fail(kj::str("usage: --publish cannot be combined with --network ", network,
                 network == "host" ? ": the task has the ports of its node already"
                                   : ": the task can be reached by nobody"));
  }
  validateBalancing(endpoint);
  std::set<uint32_t> published;
  std::set<std::pair<uint32_t, Mode>> targets;
  for (auto port : endpoint.getPorts()) {
    auto protocol = port.getProtocol() == schema::PortSpec::Protocol::TCP ? "tcp" : "udp";
    refuseIf(port.getTarget() == 0, "a published port needs a target port of 1 to 65535");
    refuseIf(
        port.getMode() == Mode::INGRESS && endpoint.getMode() == schema::EndpointSpec::Mode::DNSRR,
        "port ", port.getTarget(), "/", protocol,
        " cannot be published in mode ingress with endpoint mode dnsrr; use mode=host");
    if (port.getPublished() == 0) {
      bool twice =
          !targets.insert({portKey(port.getProtocol(), port.getTarget()), port.getMode()}).second;
      refuseIf(twice, "port ", port.getTarget(), "/", protocol, " is published twice");
    } else if (!published.insert(portKey(port.getProtocol(), port.getPublished())).second) {
      fail(kj::str("usage: port ", port.getPublished(), "/", protocol,
                   " is published twice in this service"));
    }
  }
}

}  // namespace orch::control::manager
