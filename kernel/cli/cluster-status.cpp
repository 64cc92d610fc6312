// `orch cluster status`: who leads, how the other managers are, and the store.
#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "human.h"
#include "inspect.h"
#include "output.h"
#include "table.h"

namespace orch::cli {

namespace {

constexpr Option STATUS_OPTIONS[] = {ORCH_FORMAT_OPTION};

kj::StringPtr reachWord(schema::ManagerStatus::Reader manager) {
  switch (manager.getReach()) {
    case schema::ManagerStatus::Reach::LEADER:
      return "Leader";
    case schema::ManagerStatus::Reach::REACHABLE:
      return "Reachable";
    case schema::ManagerStatus::Reach::UNREACHABLE:
      return "Unreachable";
    default:
      return "Unknown";
  }
}

// How far its copy of the state is from the leader's.
kj::String behindText(schema::ManagerStatus::Reader manager, bool led) {
  if (manager.getReach() == schema::ManagerStatus::Reach::LEADER || !led) return kj::String();
  if (manager.getBehindMs() < 0) return kj::str("has no copy");
  return kj::str(manager.getBehindMs(), "ms");
}

void printLeader(Context& context, schema::ClusterStatus::Reader status) {
  auto& out = context.out;
  auto nowNs = context.env.nowNs();
  if (status.getCluster().size() > 0) out.line("Cluster: ", status.getCluster());
  if (status.getProblem().size() > 0) {
    out.line("Leader: none: ", status.getProblem());
    out.line(" Changes are refused, tasks run on");
    if (status.getAsOfNs() != 0) {
      out.line(" What can be read is ", sinceText("as of", status.getAsOfNs(), nowNs));
    }
  } else {
    out.line("Leader: ", status.getLeader());
    out.line(" Since: ", timestamp(status.getLedSinceNs()));
  }
  out.line(" Epoch: ", status.getEpoch());
  kj::StringPtr role = status.getRole() == "leader"     ? "which leads"
                       : status.getRole() == "follower" ? "which follows"
                                                        : "which has no leader";
  out.line("Asked: ", status.getNode(), ", ", role);
}

void printManagers(Output& out, schema::ClusterStatus::Reader status) {
  bool led = status.getProblem().size() == 0;
  out.line("Managers: ", status.getManagers().size());
  if (led) {
    auto count = status.getCanLose();
    out.line(" Can be lost: ", count, count == 1 ? " manager" : " managers",
             status.getStore().getUri().size() > 0 ? ", while most servers of the store run" : "");
  }
  if (status.getManagers().size() == 0) return;
  Table table;
  table.row(kj::arr(kj::str("HOSTNAME"), kj::str("ADDRESS"), kj::str("STATUS"), kj::str("BEHIND"),
                    kj::str("REASON")));
  for (auto manager : status.getManagers()) {
    table.row(kj::arr(kj::str(manager.getName()), kj::str(manager.getAddress()),
                      kj::str(reachWord(manager)), behindText(manager, led),
                      kj::str(manager.getReason())));
  }
  out.table(table);
}

Task<int> clusterStatus(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.statusRequest().send();
  auto status = response.getStatus();
  context.connection.noteAge(status);
  if (printedFor(context, capnp::toDynamic(status))) co_return 0;
  auto& out = context.out;
  printLeader(context, status);
  printManagers(out, status);
  auto store = status.getStore();
  out.line("Store: ", store.getName(), store.getShared() ? "" : ", of this host alone");
  if (store.getUri().size() > 0) out.line(" At: ", store.getUri());
  if (store.getLatencyUs() > 0) out.line(" Answers in: ", shortDuration(store.getLatencyUs()));
  if (store.getProblem().size() > 0) out.line(" Problem: ", store.getProblem());
  out.line("State: ", status.getObjects(), " objects, ", humanSize(status.getBytes()));
  out.line(" Revision: ", status.getRevision());
  co_return 0;
}

}  // namespace

const Command CLUSTER_STATUS = {"cluster status", "",
                                "Show who leads, how the other managers are, and the store",
                                STATUS_OPTIONS, clusterStatus};

}  // namespace orch::cli
