// join, leave and join-token.
#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "started-again.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option JOIN_OPTIONS[] = {
    {"--token", "TOKEN", "As 'orch init' or 'orch join-token' printed it"},
    {"--advertise-addr", "ADDRESS",
     "That other hosts reach this one at (default: the one that the manager is reached from)"},
};
constexpr Option LEAVE_OPTIONS[] = {
    {"-f,--force", nullptr, "Also if this node is the manager, or its cluster cannot be told"},
};
constexpr Option TOKEN_OPTIONS[] = {
    {"-q,--quiet", nullptr, "Print the token alone"},
    {"--rotate", nullptr, "Make a new token: the one before is refused from now on"},
};

Task<int> join(Context& context) {
  auto token =
      parseWord("--token", context.args.given("--token") ? context.args.text("--token") : ""_kj,
                "the token of the cluster, as 'orch join-token worker' prints it on a manager");
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.joinRequest();
  request.setToken(token);
  auto operands = context.args.operands();
  auto managers = request.initManagers(operands.size());
  for (uint32_t i = 0; i < managers.size(); ++i) managers.set(i, operands[i]);
  if (context.args.given("--advertise-addr")) {
    request.setAddress(context.args.text("--advertise-addr"));
  }
  auto joined = co_await request.send();
  auto nodeId = kj::str(joined.getState().getNodeId());
  bool manages = joined.getState().getRole() == schema::Role::MANAGER;
  auto back = [&](schema::TrustState::Reader state) {
    return state.getNodeId() == nodeId && (manages || state.getConnected());
  };
  bool there = co_await becomes(context, back);
  if (there && manages) there = co_await hasLeader(context);
  if (!there) {
    context.out.error(
        kj::str("this node has joined as ", nodeId,
                ", but has not reached a manager within a minute; orchd's log says why"));
    co_return 1;
  }
  context.out.line("This node has joined the cluster as a ", manages ? "manager" : "worker", ".");
  co_return 0;
}

Task<int> leave(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.leaveRequest();
  request.setForce(context.args.on("--force"));
  co_await request.send().ignoreResult();
  if (context.connection.isRemote()) {
    // It has no port for anybody any more.
    context.out.line("The node leaves the cluster, and answers on its own host alone from now on.");
    co_return 0;
  }
  bool alone = co_await becomes(
      context, [](schema::TrustState::Reader state) { return !state.getMember(); });
  if (!alone) {
    context.out.error(
        kj::str("this node has left the cluster, but orchd has not started again within a minute; "
                "its log says why"));
    co_return 1;
  }
  context.out.line("This node has left the cluster.");
  co_return 0;
}

Task<int> joinToken(Context& context) {
  auto role = parseChoice("ROLE", context.args.operands()[0], "worker|manager");
  auto requestId = context.env.newId();
  auto response = co_await context.connection.change<schema::ClusterControl::JoinTokenResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.joinTokenRequest();
        request.setRequestId(requestId);
        request.setRole(static_cast<schema::Role>(role));
        request.setRotate(context.args.on("--rotate"));
        return request.send();
      });
  schema::ClusterControl::JoinTokenResults::Reader answer = response;
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  if (context.args.on("--quiet")) {
    context.out.line(response.getToken());
  } else {
    context.out.line("    orch join --token ", response.getToken(), " ", response.getAddress());
  }
  co_return 0;
}

}  // namespace

const Command JOIN = {
    "join", "[MANAGER...]",
    "Make this host a node of a cluster, at a manager that is named or found by discovery",
    JOIN_OPTIONS, join};
const Command LEAVE = {"leave", "", "Take this host out of its cluster", LEAVE_OPTIONS, leave};
const Command JOIN_TOKEN = {"join-token", "worker|manager", "Show how a host joins the cluster",
                            TOKEN_OPTIONS, joinToken};

}  // namespace orch::cli
