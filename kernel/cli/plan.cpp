// `orch plan`, `orch simulate` and `orch apply`: what changes would do, and doing them.
#include <fcntl.h>
#include <kj/io.h>
#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "entry.h"
#include "human.h"
#include "orch/amounts.h"
#include "orch/generic-resources.h"
#include "output.h"
#include "plan-text.h"
#include "planning-cluster.h"
#include "progress.h"
#include "service-change.h"
#include "value.h"

namespace orch::cli {

namespace {

using PlanResults = schema::ClusterControl::PlanResults;
using ApplyResults = schema::ClusterControl::ApplyResults;

constexpr kj::StringPtr PLANNABLE[] = {"service create"_kj, "service update"_kj,
                                       "service scale"_kj,  "service rollback"_kj,
                                       "service rm"_kj,     "node update"_kj};

constexpr Option SIMULATE_OPTIONS[] = {
    {"--lose", "NODE", "As if a node went down", true},
    {"--add", "NODE",
     "As if a node joined: cpus=8,memory=32g[,name=NAME][,label.KEY=VALUE][,resource.KIND=COUNT], "
     "as the others but for that; the labels are those of its engine",
     true},
    {"--scale", "SERVICE=REPLICAS", "As if a service were scaled", true}};

constexpr Option APPLY_OPTIONS[] = {
    {"-d,--detach", nullptr, "Do not wait until the services have converged"},
    {"-q,--quiet", nullptr, "Print no progress"},
    VERIFY_OPTION,
};

Task<capnp::Response<PlanResults>> ask(Context& context, PlannedChanges& changes) {
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.planRequest();
  changes.fill(request.initChanges(changes.size()));
  co_return co_await request.send();
}

void print(Context& context, capnp::Response<PlanResults>& answer, bool real) {
  for (auto warning : answer.getPlan().getWarnings()) {
    context.out.error(kj::str("warning: ", warning));
  }
  PlanResults::Reader results = answer;
  if (context.out.wroteJson(capnp::toDynamic(results.getPlan()))) return;
  printPlan(context.out, results.getPlan());
  if (real) context.out.line("\n'orch apply ", results.getPlan().getId(), "' makes it so");
}

// Runs the command against a cluster that only takes notes.
Task<int> runInstead(Context& context, const Command& command, kj::ArrayPtr<const kj::String> words,
                     PlannedChanges& changes) {
  kj::Vector<kj::String> all;
  bool waits = command.path != "node update"_kj;
  if (waits) all.add(kj::str("--detach"));
  for (auto& word : words) all.add(kj::str(word));
  Arguments args(command, all);
  if (!waits && args.on("--wait")) fail(kj::str("usage: a plan has nothing to --wait for"));
  kj::AutoCloseFd nowhere(open("/dev/null", O_WRONLY | O_CLOEXEC));
  Output out(nowhere, STDERR_FILENO);
  Context inner{args, out, context.connection, context.env, kj::String()};
  auto cluster = co_await context.connection.cluster();
  context.connection.useInstead(newPlanningCluster(kj::mv(cluster), changes));
  auto outcome = co_await attempt(command.run(inner));
  context.connection.useInstead(nullptr);
  if (!outcome.ok()) kj::throwFatalException(kj::mv(outcome.error()));
  co_return outcome.value();
}

Task<int> plan(Context& context) {
  auto words = context.args.operands();
  auto found = findCommand(words);
  bool known = false;
  for (auto path : PLANNABLE) known |= path == found.command->path;
  if (!known) {
    fail(kj::str("usage: 'orch ", found.command->path, "' cannot be planned; there are ",
                 kj::strArray(PLANNABLE, ", ")));
  }
  PlannedChanges changes;
  int status =
      co_await runInstead(context, *found.command, words.slice(found.words, words.size()), changes);
  if (status != 0) co_return status;
  auto answer = co_await ask(context, changes);
  print(context, answer, true);
  co_return 0;
}

void readScale(kj::StringPtr text, schema::PlannedChange::Builder change) {
  auto pair = parseLabel("--scale", text);
  if (pair.value.size() == 0) badValue("--scale", text, "the name of a service, '=' and a number");
  auto scale = change.initScale();
  scale.setService(pair.key);
  scale.setReplicas(static_cast<uint32_t>(
      parseWhole(kj::str("the replicas of '", pair.key, "'"), pair.value, 0, 1'000'000)));
}

void readNode(kj::StringPtr text, uint32_t number, schema::NodeDescription::Builder node) {
  constexpr kj::StringPtr EXPECTED =
      "cpus=CORES,memory=SIZE[,name=NAME][,label.KEY=VALUE][,resource.KIND=COUNT]"_kj;
  node.setHostname(kj::str("new-", number));
  kj::Vector<Pair> labels;
  kj::Vector<Pair> resources;
  for (auto& field : splitFields("--add", text)) {
    auto pair = parseLabel("--add", field);
    if (pair.key == "cpus") {
      node.setCpuNanos(parseCpuNanos("--add cpus", pair.value));
    } else if (pair.key == "memory") {
      node.setMemoryBytes(parseSizeBytes("--add memory", pair.value));
    } else if (pair.key == "name") {
      node.setHostname(parseWord("--add name", pair.value, "a name without spaces"));
    } else if (pair.key.startsWith("label.") && pair.key.size() > 6) {
      labels.add(Pair{kj::str(pair.key.slice(6)), kj::mv(pair.value)});
    } else if (pair.key.startsWith("resource.") && isResourceKind(view(pair.key.slice(9)))) {
      resources.add(Pair{kj::str(pair.key.slice(9)), kj::mv(pair.value)});
    } else {
      badValue("--add", text, EXPECTED);
    }
  }
  auto generic = node.initGeneric(static_cast<unsigned>(resources.size()));
  for (unsigned i = 0; i < generic.size(); ++i) {
    generic[i].setKind(resources[i].key);
    generic[i].setAmount(parseWhole(kj::str("--add resource.", resources[i].key),
                                    resources[i].value, 1, MAX_RESOURCE_AMOUNT));
  }
  auto list = node.initEngineLabels(static_cast<unsigned>(labels.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list[i].setKey(labels[i].key);
    list[i].setValue(labels[i].value);
  }
  if (node.getCpuNanos() == 0 || node.getMemoryBytes() == 0) badValue("--add", text, EXPECTED);
}

Task<int> simulate(Context& context) {
  PlannedChanges changes;
  uint32_t added = 0;
  for (auto& node : context.args.values("--add")) {
    readNode(node, ++added, changes.add().initAdd());
  }
  for (auto& node : context.args.values("--lose")) changes.add().setLose(node);
  for (auto& scale : context.args.values("--scale")) readScale(scale, changes.add());
  if (changes.size() == 0)
    fail(kj::str("usage: what is to be simulated? --lose, --add or --scale"));
  auto answer = co_await ask(context, changes);
  print(context, answer, false);
  co_return 0;
}

Task<int> apply(Context& context) {
  uint64_t verify = verifyMs(context.args);
  auto planId = kj::str(context.args.operands()[0]);
  auto requestId = context.env.newId();
  auto answer = co_await context.connection.change<ApplyResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.applyRequest();
        request.setRequestId(requestId);
        request.setPlanId(planId);
        return request.send();
      });
  ApplyResults::Reader results = answer;
  printWarnings(context.out, results.getPlan().getWarnings());
  if (!context.out.wroteJson(capnp::toDynamic(results.getPlan()))) context.out.line(planId);
  kj::Vector<Wait> waits;
  for (auto service : results.getPlan().getServices()) {
    auto& wait = waits.add();
    // By name: one that the plan has made got its id later.
    wait.id = kj::str(service.getName());
    wait.name = kj::str(service.getName());
    wait.verifyMs = verify;
    if (service.getGone()) {
      wait.id = kj::str(service.getId());
      wait.goal = Goal::gone;
    }
  }
  co_return co_await finishChange(context, kj::mv(waits));
}

}  // namespace

const Command PLAN = {
    .path = "plan",
    .operands = "COMMAND [ARG...]",
    .help = "Show what a command would start, stop and leave waiting, and change nothing",
    .options = nullptr,
    .run = plan,
    .stopsAtOperand = true};
const Command SIMULATE = {"simulate", "",
                          "Show what would become of the services if nodes went down or joined",
                          SIMULATE_OPTIONS, simulate};
const Command APPLY = {.path = "apply",
                       .operands = "PLAN",
                       .help = "Make the changes of a plan, if they would still do what it says",
                       .options = APPLY_OPTIONS,
                       .run = apply,
                       .interruptible = true};

}  // namespace orch::cli
