// The flags with one value; those of lists are in service-lists.cpp.
#include "service-spec.h"

#include "orch/fail.h"
#include "service-lists.h"
#include "unavailable.h"
#include "value.h"

namespace orch::cli {

namespace {

// Calls `use` with the name and the value, if the flag was given.
template <typename F>
void ifGiven(const Arguments& args, kj::StringPtr name, F&& use) {
  if (args.given(name)) use(name, args.text(name));
}

template <typename List>
void setTexts(List list, const kj::Vector<kj::String>& texts) {
  for (size_t i = 0; i < texts.size(); ++i) list.set(static_cast<unsigned>(i), texts[i]);
}

void applyMode(const Arguments& args, schema::ServiceSpec::Builder spec) {
  auto mode = spec.getMode();
  if (args.command().path == kj::StringPtr("service create")) {
    ifGiven(args, "--mode", [&](auto flag, auto value) {
      parseAvailable(flag, value, "replicated", "global|replicated-job|global-job");
      mode.initReplicated();
    });
    ifGiven(args, "--name", [&](auto flag, auto value) {
      spec.setName(parseWord(flag, value, "a name without spaces"));
    });
    if (mode.isReplicated() && !mode.hasReplicated()) mode.initReplicated();
  }
  ifGiven(args, "--replicas", [&](auto flag, auto value) {
    mode.getReplicated().setReplicas(static_cast<uint32_t>(parseWhole(flag, value, 0, UINT32_MAX)));
  });
}

void applyContainer(const Arguments& args, schema::ContainerSpec::Builder container) {
  ifGiven(args, "--entrypoint", [&](auto flag, auto value) {
    // An empty one takes the image's away, as docker has it.
    auto words = splitWords(flag, value);
    if (words.size() == 0) words.add(kj::String());
    setTexts(container.initCommand(static_cast<unsigned>(words.size())), words);
  });
  ifGiven(args, "--user", [&](auto flag, auto value) {
    container.setUser(value.size() == 0 ? kj::String()
                                        : parseWord(flag, value, "a user or user:group"));
  });
  ifGiven(args, "--workdir", [&](auto, auto value) { container.setWorkdir(value); });
  ifGiven(args, "--hostname", [&](auto, auto value) { container.setHostname(value); });
  ifGiven(args, "--stop-signal", [&](auto, auto value) { container.setStopSignal(value); });
  ifGiven(args, "--stop-grace-period",
          [&](auto flag, auto value) { container.setStopGraceMs(parseDurationMs(flag, value)); });
  ifGiven(args, "--oom-score-adj", [&](auto flag, auto value) {
    container.setOomScoreAdj(static_cast<int16_t>(parseInteger(flag, value, INT16_MIN, INT16_MAX)));
  });
  ifGiven(args, "--read-only", [&](auto flag, auto) { container.setReadOnly(args.on(flag)); });
  ifGiven(args, "--init", [&](auto flag, auto) { container.setInit(args.on(flag)); });
  ifGiven(args, "--tty", [&](auto flag, auto) { container.setTty(args.on(flag)); });
}

void applyResources(const Arguments& args, schema::Resources::Builder resources) {
  ifGiven(args, "--limit-cpu",
          [&](auto flag, auto value) { resources.setLimitCpuNanos(parseCpuNanos(flag, value)); });
  ifGiven(args, "--limit-memory", [&](auto flag, auto value) {
    resources.setLimitMemoryBytes(parseSizeBytes(flag, value));
  });
  ifGiven(args, "--limit-pids", [&](auto flag, auto value) {
    resources.setLimitPids(parseWhole(flag, value, 0, UINT64_MAX));
  });
  ifGiven(args, "--reserve-cpu",
          [&](auto flag, auto value) { resources.setReserveCpuNanos(parseCpuNanos(flag, value)); });
  ifGiven(args, "--reserve-memory", [&](auto flag, auto value) {
    resources.setReserveMemoryBytes(parseSizeBytes(flag, value));
  });
  ifGiven(args, "--memory-swap", [&](auto flag, auto value) {
    auto bytes = value == "-1" ? -1 : static_cast<int64_t>(parseSizeBytes(flag, value));
    resources.setMemorySwapBytes(bytes);
  });
}

void applyPolicies(const Arguments& args, schema::TaskSpec::Builder task) {
  auto restart = task.getRestart();
  ifGiven(args, "--restart-condition", [&](auto flag, auto value) {
    restart.setCondition(static_cast<schema::RestartPolicy::Condition>(
        parseChoice(flag, value, "any|on-failure|none")));
  });
  ifGiven(args, "--restart-delay", [&](auto flag, auto value) {
    restart.setDelayMs(static_cast<int64_t>(parseDurationMs(flag, value)));
  });
  ifGiven(args, "--restart-max-attempts", [&](auto flag, auto value) {
    restart.setMaxAttempts(parseWhole(flag, value, 0, UINT32_MAX));
  });
  ifGiven(args, "--restart-window",
          [&](auto flag, auto value) { restart.setWindowMs(parseDurationMs(flag, value)); });

  ifGiven(args, "--strategy", [&](auto, auto value) { task.getPlacement().setStrategy(value); });
  ifGiven(args, "--replicas-max-per-node", [&](auto flag, auto value) {
    task.getPlacement().setMaxReplicasPerNode(
        static_cast<uint32_t>(parseWhole(flag, value, 0, UINT32_MAX)));
  });
  ifGiven(args, "--runtime", [&](auto, auto value) { task.setRuntime(value); });
  ifGiven(args, "--log-driver", [&](auto flag, auto value) {
    parseAvailable(flag, value, "json-file",
                   "none|local|syslog|journald|gelf|fluentd|awslogs|splunk|gcplogs|etwlogs");
  });
  ifGiven(args, "--isolation", [&](auto flag, auto value) { parseChoice(flag, value, "default"); });
  for (auto& option : args.values("--log-opt")) {
    auto pair = parseLabel("--log-opt", option);
    if (pair.key == "max-size") {
      uint64_t bytes = parseSizeBytes("--log-opt max-size", pair.value);
      if (bytes == 0) badValue("--log-opt", option, "a max-size above 0");
      task.getLog().setMaxBytes(bytes);
    } else if (pair.key == "max-file") {
      task.getLog().setMaxFiles(
          static_cast<uint32_t>(parseWhole("--log-opt max-file", pair.value, 1, 1000)));
    } else {
      badValue("--log-opt", option, "max-size=SIZE or max-file=COUNT");
    }
  }
}

void applyUpdate(const Arguments& args, schema::UpdateConfig::Builder update) {
  ifGiven(args, "--update-parallelism", [&](auto flag, auto value) {
    update.setParallelism(static_cast<uint32_t>(parseWhole(flag, value, 0, UINT32_MAX)));
  });
  ifGiven(args, "--update-delay",
          [&](auto flag, auto value) { update.setDelayMs(parseDurationMs(flag, value)); });
  ifGiven(args, "--update-order", [&](auto flag, auto value) {
    update.setOrder(static_cast<schema::UpdateConfig::Order>(
        parseChoice(flag, value, "stop-first|start-first")));
  });
  ifGiven(args, "--update-failure-action", [&](auto flag, auto value) {
    update.setFailureAction(static_cast<schema::UpdateConfig::FailureAction>(
        parseAvailable(flag, value, "pause|continue", "rollback")));
  });
  ifGiven(args, "--update-monitor",
          [&](auto flag, auto value) { update.setMonitorMs(parseDurationMs(flag, value)); });
  ifGiven(args, "--update-max-failure-ratio",
          [&](auto flag, auto value) { update.setMaxFailureRatio(parseRatio(flag, value)); });
  ifGiven(args, "--update-progress-deadline", [&](auto flag, auto value) {
    update.setProgressDeadlineMs(parseDurationMs(flag, value));
  });
}

}  // namespace

kj::Vector<kj::String> applyOptions(const Arguments& args, schema::ServiceSpec::Builder spec,
                                    const LookUp& lookUp) {
  kj::Vector<kj::String> absent;
  args.checkUtf8();
  auto task = spec.getTask();
  applyMode(args, spec);
  applyContainer(args, task.getContainer());
  applyResources(args, task.getResources());
  applyPolicies(args, task);
  applyUpdate(args, spec.getUpdate());
  ifGiven(args, "--endpoint-mode", [&](auto flag, auto value) {
    spec.getEndpoint().setMode(
        static_cast<schema::EndpointSpec::Mode>(parseChoice(flag, value, "vip|dnsrr")));
  });
  applyLists(args, spec, lookUp, absent);
  if (args.command().path == kj::StringPtr("service create")) return absent;

  ifGiven(args, "--image", [&](auto flag, auto value) {
    auto image = parseWord(flag, value, "the name of an image");
    // The same tag too: it may mean something else by now.
    task.getContainer().setImage(image);
    task.getContainer().setImageDigest("");
  });
  ifGiven(args, "--args", [&](auto flag, auto value) {
    auto words = splitWords(flag, value);
    setTexts(task.getContainer().initArgs(static_cast<unsigned>(words.size())), words);
  });
  if (args.on("--force")) task.setForceUpdate(task.getForceUpdate() + 1);
  return absent;
}

void applyOperands(kj::ArrayPtr<const kj::String> operands, schema::ServiceSpec::Builder spec) {
  auto container = spec.getTask().getContainer();
  container.setImage(parseWord("IMAGE", operands[0], "the name of an image"));
  auto words = container.initArgs(static_cast<unsigned>(operands.size() - 1));
  for (size_t i = 1; i < operands.size(); ++i) words.set(static_cast<unsigned>(i - 1), operands[i]);
}

}  // namespace orch::cli
