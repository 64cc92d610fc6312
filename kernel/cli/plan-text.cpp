#include "plan-text.h"

#include "human.h"
#include "orch/amounts.h"
#include "orch/generic-resources.h"
#include "table.h"

namespace orch::cli {

namespace {

using Action = schema::PlannedStep::Action;

kj::StringPtr wordOf(Action action) {
  switch (action) {
    case Action::START:
      return "start";
    case Action::STOP:
      return "stop";
    case Action::WAIT:
      return "wait";
  }
  return "?";
}

kj::String taskOf(schema::PlannedStep::Reader step) {
  if (step.getSlot() == 0) return kj::str(step.getService());
  return kj::str(step.getService(), ".", step.getSlot());
}

void printSteps(Output& out, schema::Plan::Reader plan) {
  Table table;
  table.row(kj::arr(kj::str("ACTION"), kj::str("TASK"), kj::str("NODE"), kj::str("AFTER"),
                    kj::str("DETAIL")));
  for (auto step : plan.getSteps()) {
    bool waits = step.getAction() == Action::WAIT;
    auto detail = step.getReason().size() > 0 ? step.getReason() : step.getImage();
    table.row(kj::arr(kj::str(wordOf(step.getAction())), taskOf(step), kj::str(step.getNode()),
                      waits ? kj::String() : durationText(step.getAtMs()), kj::str(detail)));
  }
  out.table(table);
  if (plan.getUnfinished()) out.line("… and so on: this was not worked out further");
}

// `gpu 1 of 4, fpga 0 of 2`
kj::String freeResources(schema::PlannedNode::Reader node) {
  auto parts = KJ_MAP(one, node.getGeneric()) {
    auto free = amountOf(node.getFreeGeneric(), one.getKind().cStr());
    return kj::str(one.getKind(), " ", free, " of ", one.getAmount());
  };
  return kj::strArray(parts, ", ");
}

void printNodes(Output& out, schema::Plan::Reader plan) {
  Table table;
  bool generic = false;
  for (auto node : plan.getNodes()) generic |= node.getGeneric().size() > 0;
  kj::Vector<kj::String> head;
  for (auto title : {"NODE", "TASKS", "CORES NOT RESERVED", "MEMORY NOT RESERVED"}) {
    head.add(kj::str(title));
  }
  if (generic) head.add(kj::str("RESOURCES FREE"));
  table.row(head.releaseAsArray());
  bool any = false;
  for (auto node : plan.getNodes()) {
    if (node.getTasks() == node.getTasksBefore()) continue;
    any = true;
    kj::Vector<kj::String> row;
    row.add(kj::str(node.getNode()));
    row.add(kj::str(node.getTasksBefore(), " -> ", node.getTasks()));
    row.add(kj::str(coresText(node.getFreeCpuNanos()), " of ", coresText(node.getCpuNanos())));
    row.add(
        kj::str(binarySize(node.getFreeMemoryBytes()), " of ", binarySize(node.getMemoryBytes())));
    if (generic) row.add(freeResources(node));
    table.row(row.releaseAsArray());
  }
  if (!any) return;
  out.line();
  out.table(table);
}

kj::String verdictOn(schema::PlannedService::Reader service) {
  if (service.getGone()) return kj::str(service.getName(), " is gone");
  auto text = kj::str(service.getName(), ": ", service.getRunning(), " of ", service.getDesired(),
                      " tasks run");
  if (service.getUpdate().size() > 0) text = kj::str(text, "; ", service.getUpdate());
  if (service.getNeedsUnknown() || service.getRunning() == 0) return text;
  kj::Vector<kj::StringPtr> needs;
  for (auto node : service.getNeeds()) needs.add(node);
  if (needs.empty()) return kj::str(text, ", and would without any one node");
  return kj::str(text, ", and not all of them without ", kj::strArray(needs, ", or without "));
}

}  // namespace

void printPlan(Output& out, schema::Plan::Reader plan) {
  if (plan.getSteps().size() == 0) {
    out.line("nothing would be started or stopped");
  } else {
    printSteps(out, plan);
  }
  printNodes(out, plan);
  if (plan.getServices().size() > 0) out.line();
  for (auto service : plan.getServices()) out.line(verdictOn(service));
}

}  // namespace orch::cli
