// The flags whose value is more than that of a field, which service-options.cpp sets, or than an
// item of a list (service-lists.cpp).
#include "service-spec.h"

#include "orch/fail.h"
#include "service-lists.h"
#include "service-options.h"
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
      switch (parseChoice(flag, value, "replicated|global|replicated-job|global-job")) {
        case 1:
          return mode.setGlobal();
        case 2:
          mode.initReplicatedJob();
          break;
        case 3:
          mode.setGlobalJob();
          break;
        default:
          return;
      }
      spec.getTask().getRestart().setCondition(schema::RestartPolicy::Condition::ON_FAILURE);
    });
    ifGiven(args, "--name", [&](auto flag, auto value) {
      spec.setName(parseWord(flag, value, "a name without spaces"));
    });
    if (mode.isReplicated() && !mode.hasReplicated()) mode.initReplicated();
  }
  // Before the service was read nobody knows its mode.
  bool unknown = mode.isReplicated() && !mode.hasReplicated();
  ifGiven(args, "--replicas", [&](auto flag, auto value) {
    auto count = static_cast<uint32_t>(parseWhole(flag, value, 0, UINT32_MAX));
    if (mode.isReplicatedJob()) return mode.getReplicatedJob().setCompletions(count);
    if (!mode.isReplicated()) {
      fail(kj::str("usage: --replicas is for replicated services: a global one has one ",
                   "task on each node"));
    }
    mode.getReplicated().setReplicas(count);
  });
  ifGiven(args, "--max-concurrent", [&](auto flag, auto value) {
    auto count = static_cast<uint32_t>(parseWhole(flag, value, 0, UINT32_MAX));
    if (mode.isReplicatedJob()) return mode.getReplicatedJob().setMaxConcurrent(count);
    if (!unknown) fail(kj::str("usage: ", flag, " is for services of --mode replicated-job"));
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
}

constexpr kj::StringPtr HEALTH_FLAGS[] = {"--health-cmd"_kj,          "--health-interval"_kj,
                                          "--health-timeout"_kj,      "--health-retries"_kj,
                                          "--health-start-period"_kj, "--health-start-interval"_kj};

// As docker has it: switched off, nothing is left of it; any other flag switches it on again. An
// empty command is the image's.
void applyHealth(const Arguments& args, schema::ContainerSpec::Builder container) {
  bool off = args.on("--no-healthcheck");
  for (auto flag : HEALTH_FLAGS) {
    if (!args.given(flag)) continue;
    if (off) fail(kj::str("usage: --no-healthcheck cannot be combined with ", flag));
    auto test = container.getHealth().asReader().getTest();
    if (test.size() > 0 && test[0] == "NONE") container.getHealth().disownTest();
  }
  if (off) container.initHealth().initTest(1).set(0, "NONE");
  ifGiven(args, "--health-cmd", [&](auto, auto value) {
    if (value.size() == 0) {
      container.getHealth().disownTest();
      return;
    }
    auto test = container.getHealth().initTest(2);
    test.set(0, "CMD-SHELL");
    test.set(1, value);
  });
}

void applyLog(const Arguments& args, schema::TaskSpec::Builder task) {
  ifGiven(args, "--log-driver", [&](auto flag, auto value) {
    parseAvailable(flag, value, "json-file",
                   "none|local|syslog|journald|gelf|fluentd|awslogs|splunk|gcplogs|etwlogs");
  });
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

}  // namespace

kj::Vector<kj::String> applyOptions(const Arguments& args, schema::ServiceSpec::Builder spec,
                                    const LookUp& lookUp) {
  kj::Vector<kj::String> absent;
  args.checkUtf8();
  auto task = spec.getTask();
  // What nobody set is there too, with its defaults: to be seen.
  task.getResources();
  task.getRestart();
  applyMode(args, spec);
  auto mode = spec.getMode();
  if (!mode.isReplicatedJob() && !mode.isGlobalJob()) spec.getUpdate();
  applyContainer(args, task.getContainer());
  applyHealth(args, task.getContainer());
  applyLog(args, task);
  applyFlags(args, spec);
  ifGiven(args, "--isolation", [&](auto flag, auto value) { parseChoice(flag, value, "default"); });
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
