// init, info and version.
#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "external-ca.h"
#include "human.h"
#include "inspect.h"
#include "orch/abi.h"
#include "orch/fail.h"
#include "orch/generic-resources.h"
#include "output.h"
#include "started-again.h"
#include "unlock.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option INIT_OPTIONS[] = {
    {"--name", "NAME", "Name of the cluster (default: default)"},
    {"--advertise-addr", "ADDRESS",
     "That other hosts reach this one at, as 10.0.0.1 or 10.0.0.1:2377 (default: the only one; of "
     "a "
     "member: as it is)"},
    {"--cert-expiry", "DURATION",
     "How long certificates of nodes and admins are good, 1h to 43800h (default: 2160h)"},
    {"--default-addr-pool", "CIDR",
     "Addresses that networks get their subnets of (default: 10.0.0.0/8)", true},
    {"--default-addr-pool-mask-length", "LENGTH",
     "Length of the prefix of such a subnet, 8 to 29 (default: 24)"},
    {"--force-new-cluster", nullptr,
     "Of a cluster that no manager leads any more: go on alone, as its only manager, with what "
     "this "
     "one knows"},
    {"--autolock", nullptr,
     "What managers keep is encrypted: one that starts again waits for 'orch unlock'"},
    EXTERNAL_CA_OPTION,
};

constexpr Option FORMAT_OPTIONS[] = {ORCH_FORMAT_OPTION};

void printJoin(Output& out, kj::StringPtr role, kj::StringPtr token, kj::StringPtr address) {
  if (token.size() == 0) {
    out.line("No other host can join: this one has no address that others could reach it at.");
    return;
  }
  out.line();
  out.line("To add a ", role, " to this cluster, run on the other host:");
  out.line();
  out.line("    orch join --token ", token, " ", address);
}

uint8_t poolPrefix(const Arguments& args) {
  constexpr kj::StringPtr FLAG = "--default-addr-pool-mask-length"_kj;
  return args.given(FLAG) ? parseWhole(FLAG, args.text(FLAG), 8, 29) : 0;
}

// Everything else stays as it is.
Task<int> goOnAlone(Context& context) {
  for (auto& option : INIT_OPTIONS) {
    kj::StringPtr name = option.names;
    if (name == "--force-new-cluster" || !context.args.given(name)) continue;
    fail(kj::str("usage: ", name, " has no place beside --force-new-cluster"));
  }
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.forceNewRequest();
  request.setRequestId(context.env.newId());
  auto response = co_await request.send();
  schema::ClusterControl::ForceNewResults::Reader answer = response;
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  context.out.line("This node is the only manager now: it goes on with what it knew",
                   sinceText("", answer.getAsOfNs(), context.env.nowNs()), ", in '",
                   answer.getStore(), "' of its own.");
  auto removed = KJ_MAP(name, answer.getRemoved()) { return kj::str(name); };
  if (removed.size() > 0) {
    context.out.line(
        "Not of the cluster any more: ", kj::strArray(removed, ", "),
        ". 'orch leave --force' and 'orch join' there make them nodes again; orchd must "
        "not run on them before as it is.");
  }
  co_return 0;
}

// orchd starts again where it listens at another address than before.
Task<void> awaitAddress(Context& context, kj::String address) {
  if (!context.args.given("--advertise-addr") || context.connection.isRemote()) co_return;
  bool there = co_await becomes(context, [&](schema::TrustState::Reader state) {
    return state.getAddress() == address && !state.getRestarts();
  });
  if (there) there = co_await hasLeader(context);
  if (there) co_return;
  fail(kj::str("this node's address is ", address,
               " now, but orchd has not started again there within a minute; its log says why"));
}

Task<int> init(Context& context) {
  if (context.args.on("--force-new-cluster")) co_return co_await goOnAlone(context);
  // Without a name any cluster will do that is there already.
  auto checked = context.args.given("--name")
                     ? parseWord("--name", context.args.text("--name"), "a name without spaces")
                     : kj::String();
  bool expires = context.args.given("--cert-expiry");
  auto expiryMs = expires ? parseExpiryMs("--cert-expiry", context.args.text("--cert-expiry")) : 0;
  auto prefix = poolPrefix(context.args);
  auto external = externalCaOf(context.args);
  auto requestId = context.env.newId();
  auto response = co_await context.connection.change<schema::ClusterControl::InitResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.initRequest();
        request.setRequestId(requestId);
        request.setName(checked);
        request.setCertificateMs(expiryMs);
        request.setAutolock(context.args.on("--autolock"));
        auto pools = context.args.values("--default-addr-pool");
        auto list = request.initAddressPools(pools.size());
        for (uint32_t i = 0; i < list.size(); ++i) list.set(i, pools[i]);
        request.setAddressPoolPrefix(prefix);
        KJ_IF_MAYBE (ca, external) ca->fill(request.initExternalAuthority());
        if (context.args.given("--advertise-addr")) {
          request.setAddress(context.args.text("--advertise-addr"));
        }
        return request.send();
      },
      "whether the cluster was made is unknown: look with 'orch info', then ask again");
  schema::ClusterControl::InitResults::Reader answer = response;
  co_await awaitAddress(context, kj::str(answer.getAddress()));
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  auto cluster = response.getCluster();
  context.out.line("Cluster '", cluster.getName(), "' (", cluster.getMeta().getId(),
                   response.getCreated() ? ") initialized: this node is its manager."
                                         : "), which was there already: this node is its "
                                           "manager.");
  printJoin(context.out, "worker", response.getToken(), response.getAddress());
  printUnlockKey(context.out, response.getUnlockKey());
  co_return 0;
}

kj::StringPtr roleWord(schema::Role role) {
  return role == schema::Role::MANAGER ? "manager"_kj : "worker"_kj;
}

// What the node that is asked is; of a worker there is no more to tell.
void printSelf(Output& out, schema::TrustState::Reader self, int64_t nowNs) {
  if (!self.getMember()) return;
  out.line("Role: ", roleWord(self.getRole()));
  if (self.getLocked()) out.line(" Locked: yes: 'orch unlock' lets it go on; its tasks run");
  out.line(" Node ID: ", self.getNodeId());
  out.line(" Address: ", self.getAddress());
  bool expired = nowNs > self.getNotAfterNs();
  out.line(" Certificate until: ", timestamp(self.getNotAfterNs()),
           expired ? ": it has expired; 'orch leave', then 'orch join' with a token" : "");
  if (self.getRole() == schema::Role::MANAGER) return;
  out.line("Managers: ", kj::strArray(self.getManagers(), ", "));
  out.line(" Connected: ", self.getConnected() ? "yes" : "no: trying until one answers");
}

Task<int> info(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto gateway = co_await context.connection.gateway();
  auto askVersion = gateway.versionRequest();
  auto versionAnswer = askVersion.send();
  auto response = co_await cluster.infoRequest().send();
  auto age = co_await attempt(cluster.ageRequest().send());
  if (age.ok()) context.connection.noteAge(age.value());
  auto version = co_await kj::mv(versionAnswer);
  auto info = response.getInfo();
  if (printedFor(context, capnp::toDynamic(info))) co_return 0;
  Output& out = context.out;
  out.line("Server Version: ", version.getVersion());
  out.line("Node: ", version.getNode());
  printSelf(out, info.getSelf(), context.env.nowNs());
  if (info.getSelf().getLocked()) co_return 0;
  bool worker = info.getSelf().getMember() && info.getSelf().getRole() == schema::Role::WORKER;
  if (worker) co_return 0;
  out.line("Initialized: ", info.getInitialized() ? "yes" : "no: run 'orch init'");
  if (info.getInitialized()) {
    out.line("Cluster: ", info.getCluster().getName());
    out.line(" ID: ", info.getCluster().getMeta().getId());
    out.line(" Leader: ", info.getLeader());
    out.line(" Managers: ", info.getManagers());
    out.line(" Nodes: ", info.getNodes());
    out.line(" Autolock Managers: ", info.getCluster().getAutolock() ? "yes" : "no");
    out.line(" Certificates: ", info.getCluster().getCertificateMs() / 3'600'000, "h");
    auto signer = info.getCluster().getExternalAuthority();
    if (signer.getUrl().size() > 0) {
      out.line(" External CA: ", signer.getProtocol(), " at ", signer.getUrl());
    }
    out.line(" Default Strategy: ", info.getCluster().getDefaultStrategy());
    out.line(" Task History Limit: ", info.getCluster().getTaskHistoryLimit());
    auto pools = info.getCluster().getAddressPools();
    out.line(" Default Address Pool: ",
             pools.size() == 0 ? kj::str("10.0.0.0/8") : kj::strArray(pools, ", "));
    out.line(" Subnet Size: ", info.getCluster().getAddressPoolPrefix());
    auto images = info.getCluster().getImageLimitBytes();
    out.line(" Image Limit: ",
             images == 0 ? kj::str("none") : kj::str(humanSize(images), " a node"));
    out.line("Services: ", info.getServices());
    out.line("Tasks running: ", info.getTasksRunning());
    for (auto resource : info.getGeneric()) {
      auto kind = resource.getKind();
      auto used = amountOf(info.getGenericInUse(), view(kind));
      out.line("Resource ", kind, ": ", used, " of ", resource.getAmount(), " in use");
    }
  }
  out.line("Store: ", info.getStore());
  out.line(" Revision: ", info.getRevision());
  out.line(" Epoch: ", info.getEpoch());
  co_return 0;
}

Task<int> version(Context& context) {
  Output& out = context.out;
  if (!out.json && !context.args.given("--format")) {
    out.line("Client:");
    out.line(" Version:  ", ORCH_VERSION);
    out.flush();
  }
  auto gateway = co_await context.connection.gateway();
  auto response = co_await gateway.versionRequest().send();
  capnp::MallocMessageBuilder message;
  auto both = message.initRoot<schema::Versions>();
  both.setClient(ORCH_VERSION);
  both.setServer(response);
  if (printedFor(context, capnp::toDynamic(both.asReader()))) co_return 0;
  out.line("Server:");
  out.line(" Version:  ", response.getVersion());
  out.line(" API:      ", response.getApi());
  out.line(" Node:     ", response.getNode());
  out.line(" Pid:      ", response.getPid());
  co_return 0;
}

}  // namespace

const Command INIT = {"init", "", "Make a cluster of which this node is the manager", INIT_OPTIONS,
                      init};
const Command INFO = {"info", "", "Show what the cluster is and how much runs on it",
                      FORMAT_OPTIONS, info};
const Command VERSION = {"version", "", "Show the versions of orch and of orchd", FORMAT_OPTIONS,
                         version};

}  // namespace orch::cli
