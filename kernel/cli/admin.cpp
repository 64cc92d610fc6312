// admin add, ls, rm and request; cluster update.
#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "credentials.h"
#include "entry.h"
#include "external-ca.h"
#include "human.h"
#include "listing.h"
#include "orch/trust/certificate.h"
#include "output.h"
#include "remove-each.h"
#include "unlock.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option ADD_OPTIONS[] = {
    {"--out", "DIR", "Where key and certificate are written (default: ~/.orch)"},
    {"--request", "FILE",
     "Of 'orch admin request' on another host, '-' for stdin: prints the certificate instead"},
};
constexpr Option REQUEST_OPTIONS[] = {
    {"--out", "DIR", "Where the key is written (default: ~/.orch)"},
};
constexpr Option ADMIN_LS_OPTIONS[] = {ORCH_LIST_OPTIONS};
constexpr Column ADMIN_COLUMNS[] = {{"Name", "NAME"},
                                    {"CreatedSince", "ADDED"},
                                    {"Status", "STATUS"},
                                    {"NotAfter", "CERTIFICATE UNTIL"},
                                    {"Fingerprint", nullptr}};
constexpr Option UPDATE_OPTIONS[] = {
    {"--autolock", nullptr,
     "What managers keep is encrypted: one that starts again waits for 'orch unlock'; "
     "--autolock=false ends that"},
    {"--cert-expiry", "DURATION",
     "How long certificates are good that are made from now on, 1h to 43800h"},
    EXTERNAL_CA_OPTION,
    {"--image-limit", "BYTES",
     "What images may take on each node: past it those go that no service needs any more; 0: none "
     "go"},
    {"--rebalance", "TERMS",
     "When a node has come, so many tasks at a time move there: max=2,every=1m; or none"},
    {"--task-history-limit", "N", "Ended tasks that are kept per slot"},
};

using Added = capnp::Response<schema::ClusterControl::AddAdminResults>;

Task<Added> addNamed(Context& context, kj::StringPtr name, std::string request) {
  auto requestId = context.env.newId();
  co_return co_await context.connection.change<schema::ClusterControl::AddAdminResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto adding = cluster.addAdminRequest();
        adding.setRequestId(requestId);
        adding.setName(name);
        adding.setRequest(request.c_str());
        return adding.send();
      },
      "whether the admin was added is unknown: look with 'orch admin ls'");
}

Task<int> addAdmin(Context& context) {
  auto& name = context.args.operands()[0];
  if (context.args.given("--request")) {
    auto added =
        co_await addNamed(context, name, readPem("request", context.args.text("--request")));
    schema::ClusterControl::AddAdminResults::Reader answer = added;
    if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
    context.out.write(kj::str(added.getAdmin().getCertificate(), added.getAuthority()));
    co_return 0;
  }
  auto folder = credentialsFolder(context.args.given("--out") ? context.args.text("--out") : ""_kj);
  requireRoomForCredentials(folder);
  auto keys = trust::newKeyRequest();
  auto added = co_await addNamed(context, name, keys.request);
  auto admin = added.getAdmin();
  writeCredentials(folder, keys.key, kj::str(admin.getCertificate(), added.getAuthority()).cStr());
  schema::ClusterControl::AddAdminResults::Reader answer = added;
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  context.out.line("Admin '", admin.getName(), "' added: the key and a certificate, good until ",
                   timestamp(admin.getNotAfterNs()), ", are in '", folder, "'.");
  context.out.line();
  for (auto manager : added.getManagers()) {
    context.out.line("    orch --host tcp://", manager, " node ls");
  }
  co_return 0;
}

Task<int> requestAdmin(Context& context) {
  auto folder = credentialsFolder(context.args.given("--out") ? context.args.text("--out") : ""_kj);
  requireRoomForCredentials(folder);
  auto keys = trust::newKeyRequest();
  writeCredentials(folder, keys.key, "");
  context.out.write(kj::StringPtr(keys.request.c_str()));
  context.out.flush();
  context.out.toErrors(kj::str("The key is in '", folder,
                               "' and stays there. On a manager: 'orch admin add --request FILE "
                               "NAME', and what that prints is ",
                               folder, "/admin.pem here.\n"));
  co_return 0;
}

Task<int> listAdmins(Context& context) {
  Listing list(context, ADMIN_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.adminsRequest().send();
  context.connection.noteAge(response);
  auto nowNs = context.env.nowNs();
  for (auto admin : response.getAdmins()) {
    auto age = nowNs - admin.getMeta().getCreatedAtNs();
    list.row(admin.getName(), admin,
             kj::arr(kj::str(admin.getName()), kj::str(humanDuration(age), " ago"),
                     kj::str(nowNs > admin.getNotAfterNs() ? "Expired" : "Valid"),
                     timestamp(admin.getNotAfterNs()), kj::str(admin.getFingerprint())));
  }
  list.finish();
  co_return 0;
}

Task<int> removeAdmins(Context& context) {
  auto make = [](schema::ClusterControl::Client& cluster, kj::StringPtr name) {
    auto request = cluster.removeAdminRequest();
    request.setName(name);
    return request;
  };
  return removeEach<schema::ClusterControl::RemoveAdminResults>(
      context, make, "whether the admin was removed is unknown: look with 'orch admin ls'");
}

struct RebalanceTerms {
  uint32_t max = 0;
  uint64_t everyMs = 0;
};

// `max=2,every=1m`, or `none`.
RebalanceTerms parseRebalance(kj::StringPtr flag, kj::StringPtr text) {
  RebalanceTerms terms;
  if (text == "none") return terms;
  for (auto& field : splitFields(flag, text)) {
    auto pair = parseLabel(flag, field);
    if (pair.key == "max") {
      terms.max = static_cast<uint32_t>(parseWhole("--rebalance max", pair.value, 1, 1000));
    } else if (pair.key == "every") {
      terms.everyMs = parseDurationMs("--rebalance every", pair.value);
    } else {
      terms = {};
      break;
    }
  }
  if (terms.max == 0 || terms.everyMs == 0) {
    badValue(flag, text, "max=TASKS,every=DURATION such as max=2,every=1m, or none");
  }
  return terms;
}

Task<int> updateCluster(Context& context) {
  auto& args = context.args;
  bool expiry = args.given("--cert-expiry"), history = args.given("--task-history-limit");
  bool images = args.given("--image-limit"), balance = args.given("--rebalance");
  bool lock = args.given("--autolock");
  auto external = externalCaOf(args);
  if (!expiry && !history && !images && !balance && !lock && external == nullptr) {
    fail(kj::str(
        "usage: say what to change: --autolock, --cert-expiry, --external-ca, --image-limit, "
        "--rebalance or --task-history-limit"));
  }
  RebalanceTerms terms;
  if (balance) terms = parseRebalance("--rebalance", args.text("--rebalance"));
  auto expiryMs = expiry ? parseExpiryMs("--cert-expiry", args.text("--cert-expiry")) : 0;
  auto limit =
      history ? parseWhole("--task-history-limit", args.text("--task-history-limit"), 0, 1000) : 0;
  auto imageBytes = images ? parseSizeBytes("--image-limit", args.text("--image-limit")) : 0;
  // First, as a server may refuse to sign.
  KJ_IF_MAYBE (ca, external) co_await signThere(context, kj::mv(*ca));
  auto requestId = context.env.newId();
  auto response = co_await context.connection.change<schema::ClusterControl::UpdateClusterResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.updateClusterRequest();
        request.setRequestId(requestId);
        auto change = request.initChange();
        change.setCertificateMs(expiryMs);
        if (lock) change.getAutolock().setSet(args.on("--autolock"));
        if (history) change.getTaskHistoryLimit().setSet(static_cast<uint32_t>(limit));
        if (images) change.getImageLimit().setSetBytes(imageBytes);
        if (balance) {
          auto set = change.getRebalance().initSet();
          set.setMax(terms.max);
          set.setEveryMs(terms.everyMs);
        }
        return request.send();
      },
      "whether the change was made is unknown: look with 'orch info'");
  schema::ClusterControl::UpdateClusterResults::Reader answer = response;
  auto cluster = answer.getCluster();
  // With the key, which is not the cluster's to tell afterwards.
  if (lock && context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  if (context.out.wroteJson(capnp::toDynamic(cluster))) co_return 0;
  context.out.line(cluster.getName());
  printUnlockKey(context.out, response.getUnlockKey());
  co_return 0;
}

constexpr Option MIGRATE_OPTIONS[] = {
    {"--to", "STORE",
     "The store's plugin, as store.etcd, or etcd://host:2379,host:2379/prefix, consul://…, zk://…: "
     "every manager has to have it in its manifest"},
};

Task<int> migrateCluster(Context& context) {
  if (!context.args.given("--to")) {
    fail(
        kj::str("usage: say where: --to store.etcd or --to etcd://host:2379, say; 'orch plugin ls' "
                "lists the "
                "stores"));
  }
  auto store = kj::str(context.args.text("--to"));
  auto moved = co_await context.connection.change<schema::ClusterControl::MigrateResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.migrateRequest();
        request.setStore(store);
        return request.send();
      },
      "whether the state has moved is unknown: look with 'orch info', then ask again");
  schema::ClusterControl::MigrateResults::Reader answer = moved;
  if (answer.getName().size() > 0) store = kj::str(answer.getName());
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  if (answer.getObjects() == 0) {
    context.out.line("The state of the cluster is in '", store, "' already.");
  } else {
    context.out.line("The state of the cluster, ", answer.getObjects(), " objects, is in '", store,
                     "' from now on; changes waited for ", answer.getPausedMs(), " ms.");
  }
  co_return 0;
}

}  // namespace

const Command ADMIN_ADD = {"admin add", "NAME",
                           "Let somebody use the cluster from any host, with a certificate",
                           ADD_OPTIONS, addAdmin};
const Command ADMIN_REQUEST = {"admin request", "",
                               "Make a key on this host and print the request for a certificate",
                               REQUEST_OPTIONS, requestAdmin};
const Command ADMIN_LS = {"admin ls", "", "List who may use the cluster from any host",
                          ADMIN_LS_OPTIONS, listAdmins};
const Command ADMIN_RM = {"admin rm", "NAME...",
                          "Refuse an admin's certificate from now on, and end its connections",
                          nullptr, removeAdmins};
const Command CLUSTER_UPDATE = {"cluster update", "", "Change what holds for the whole cluster",
                                UPDATE_OPTIONS, updateCluster};
const Command CLUSTER_MIGRATE = {"cluster migrate", "",
                                 "Move the state of the cluster into another store, while all runs",
                                 MIGRATE_OPTIONS, migrateCluster};

}  // namespace orch::cli
