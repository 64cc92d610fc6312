#include "connection.h"

#include <grp.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "human.h"
#include "orch/host-addresses.h"
#include "orch/trust/certificate.h"
#include "orch/trust/peer-link.h"

namespace orch::cli {

namespace {

constexpr kj::StringPtr DEFAULT_SOCKET = "/run/orch/orchd.sock"_kj;
// Between two tries to reach an orchd that restarts; it tells nobody when it is there again.
constexpr kj::Duration RETRY_EVERY = 20 * kj::MILLISECONDS;
constexpr kj::Duration RENEWAL_LIMIT = 5 * kj::SECONDS;
constexpr kj::Duration REASON_LIMIT = 2 * kj::SECONDS;
// A list of 100,000 tasks is one message of about 100 MB.
constexpr uint64_t MAX_MESSAGE_WORDS = 1ull << 27;

capnp::ReaderOptions readerOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = MAX_MESSAGE_WORDS;
  return options;
}

kj::String whoMay(kj::StringPtr path) {
  struct stat socket;
  bool shared = stat(path.cStr(), &socket) == 0 && socket.st_gid != 0;
  struct group* owner = shared ? getgrgid(socket.st_gid) : nullptr;
  return kj::str("this user may not talk to orchd at '", path, "': use sudo",
                 owner == nullptr
                     ? kj::String()
                     : kj::str(", or be in the group '", owner->gr_name, "' of the socket"));
}

}  // namespace

Target parseTarget(kj::StringPtr from, kj::StringPtr address) {
  Target target;
  if (address.size() == 0) target.socket = kj::str(DEFAULT_SOCKET);
  if (address.size() == 0) return target;
  if (address.startsWith("tcp://")) {
    for (auto rest = address.slice(6); target.managers.size() == 0 || rest.size() > 0;) {
      auto comma = rest.findFirst(',');
      auto host = kj::heapString(rest.begin(), comma.orDefault(rest.size()));
      rest = comma == nullptr ? ""_kj : rest.slice(KJ_ASSERT_NONNULL(comma) + 1);
      if (host.size() == 0 || host.findFirst('/') != nullptr) {
        fail(kj::str("usage: invalid value '", address, "' for ", from,
                     ": expected a manager such as tcp://10.0.0.1:2377, or several as in "
                     "tcp://10.0.0.1,10.0.0.2"));
      }
      target.managers.add(withNodePort(host));
    }
    return target;
  }
  kj::StringPtr path = address;
  if (path.startsWith("unix://")) {
    path = path.slice(7);
  } else if (path.startsWith("unix:")) {
    path = path.slice(5);
  }
  bool hasScheme = strstr(path.cStr(), "://") != nullptr;
  if (path.size() == 0 || hasScheme || path.findFirst('/') == nullptr) {
    fail(kj::str("usage: invalid value '", address, "' for ", from,
                 ": expected a Unix socket such as unix:///run/orch/orchd.sock, or a manager such "
                 "as tcp://10.0.0.1:2377"));
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    fail(kj::str("usage: invalid value '", address, "' for ", from, ": expected a path of at most ",
                 sizeof(sockaddr_un::sun_path) - 1, " bytes"));
  }
  target.socket = kj::str(path);
  return target;
}

Connection::Connection(Env& env, Target given)
    : env(env),
      target(kj::mv(given)),
      shown(isRemote() ? kj::str("tcp://", kj::strArray(target.managers, ","))
                       : kj::str(target.socket)) {}

kj::String Connection::explained(kj::StringPtr text) const {
  auto reason = isRemote() ? trust::tlsReason(text) : kj::str(text);
  return reason == text ? kj::mv(reason) : kj::str("cannot use '", shown, "': ", reason);
}

Task<kj::Own<kj::AsyncIoStream>> Connection::toSocket() {
  auto& path = target.socket;
  auto socket = co_await env.network().parseAddress(kj::str("unix:", path));
  auto outcome = co_await attempt(socket->connect());
  if (!outcome.ok()) {
    if (access(path.cStr(), R_OK | W_OK) != 0 && errno == EACCES) fail(whoMay(path));
    fail(kj::str("cannot reach orchd at '", path, "': ", trust::systemReason(outcome.message()),
                 "; is orchd running? start it with 'systemctl start orchd' or 'orchd --config "
                 "FILE', or name its socket with --host"));
  }
  co_return kj::mv(outcome.value());
}

Task<kj::AuthenticatedStream> Connection::toManager(kj::TlsContext& tls) {
  kj::Vector<kj::String> reasons;
  for (auto& manager : target.managers) {
    auto outcome = co_await attempt(trust::reachKnown(env, tls, kj::str(manager)));
    if (outcome.ok()) {
      shown = kj::str("tcp://", manager);
      // If this one is lost, it is asked last.
      std::rotate(target.managers.begin(), &manager + 1, target.managers.end());
      co_return kj::mv(outcome.value());
    }
    reasons.add(kj::str("cannot use 'tcp://", manager, "': ", outcome.message()));
  }
  fail(kj::str(kj::strArray(reasons, "; "),
               "; expected a manager of the cluster, as 'orch node ls' lists them"));
}

Task<void> Connection::connect() {
  auto fresh = kj::heap<Link>();
  kj::String folder;
  AdminCredentials own;
  bool replaced = false;
  if (isRemote()) {
    folder = credentialsFolder(target.credentials);
    own = readCredentials(folder, env.nowNs());
    auto tls = trust::newTls(env, own.authority, own.certificate, own.key, false);
    auto reached = co_await toManager(*tls);
    replaced = trust::signerOf(*reached.peerIdentity, trust::firstIn(own.authority)).empty();
    fresh->stream = kj::mv(reached.stream);
    fresh->tls = kj::mv(tls);
  } else {
    fresh->stream = co_await toSocket();
  }
  fresh->network = kj::heap<capnp::TwoPartyVatNetwork>(
      *fresh->stream, capnp::rpc::twoparty::Side::CLIENT, readerOptions());
  fresh->rpc = kj::heap<capnp::RpcSystem<capnp::rpc::twoparty::VatId>>(
      capnp::makeRpcClient(*fresh->network));
  link = kj::mv(fresh);
  if (isRemote()) co_await renew(folder, kj::mv(own), replaced);
}

Task<void> Connection::renew(kj::StringPtr folder, AdminCredentials own, bool replaced) {
  auto when = renewalOf(own, env.nowNs());
  bool due = replaced || when != Renewal::NOT_YET;
  bool several = trust::certificatesIn(own.authority).size() > 1;
  if ((!due && !several) || std::exchange(renewalTried, true)) co_return;
  auto fetched = due ? fetchRenewed(folder, own) : fetchTrusted(folder, own);
  auto fetching = env.timer().timeoutAfter(RENEWAL_LIMIT, kj::mv(fetched).promise());
  auto renewed = co_await attempt(kj::mv(fetching));
  // As long as there is time it is tried again with the next command.
  if (renewed.ok() || (when != Renewal::LATE && !replaced)) co_return;
  notRenewed = kj::str("the certificate in '", folder, "' is good until ",
                       timestamp(trust::holderOf(own.certificate).notAfterNs),
                       " and cannot be renewed: ", renewed.message());
}

Task<void> Connection::fetchRenewed(kj::StringPtr folder, const AdminCredentials& own) {
  requireRoomForRenewed(folder);
  auto renewal = co_await service("renewal");
  auto request = renewal.castAs<schema::Renewal>().renewRequest();
  request.setRequest(trust::requestFor(own.key).c_str());
  auto answer = co_await request.send();
  keepRenewed(folder, own, answer.getCertificate().cStr(),
              answer.getTrusted().getAuthorities().cStr());
}

Task<void> Connection::fetchTrusted(kj::StringPtr folder, const AdminCredentials& own) {
  requireRoomForRenewed(folder);
  auto renewal = co_await service("renewal");
  auto answer = co_await renewal.castAs<schema::Renewal>().trustedRequest().send();
  std::string authorities = answer.getTrusted().getAuthorities().cStr();
  bool fresh = authorities != own.authority;
  if (fresh) keepRenewed(folder, own, own.certificate, authorities);
}

Task<schema::Gateway::Client> Connection::gateway() {
  if (link == nullptr) co_await connect();
  capnp::MallocMessageBuilder message(4);
  auto server = message.initRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  auto client = KJ_ASSERT_NONNULL(link)->rpc->bootstrap(server).castAs<schema::Gateway>();
  co_return kj::mv(client);
}

Task<capnp::Capability::Client> Connection::service(kj::StringPtr name) {
  auto client = co_await gateway();
  auto request = client.serviceRequest();
  request.setName(name);
  co_return request.send().getCapability();
}

Task<schema::ClusterControl::Client> Connection::cluster() {
  KJ_IF_MAYBE (other, instead) co_return schema::ClusterControl::Client(*other);
  auto client = co_await service("cluster");
  co_return client.castAs<schema::ClusterControl>();
}

Task<kj::String> Connection::age() {
  if (oldestNs == 0) co_return kj::String();
  auto told = kj::str(sinceText("as of", oldestNs, env.nowNs()), ": no manager leads the cluster");
  auto client = co_await cluster();
  kj::Promise<kj::String> asking =
      client.ageRequest().send().then([](auto&& answer) { return kj::str(answer.getReason()); });
  auto reason = co_await attempt(env.timer().timeoutAfter(REASON_LIMIT, kj::mv(asking)));
  if (reason.ok() && reason.value().size() > 0) told = kj::str(told, " (", reason.value(), ")");
  co_return kj::mv(told);
}

Task<schema::Kernel::Client> Connection::kernel() {
  auto client = co_await service("kernel");
  co_return client.castAs<schema::Kernel>();
}

Task<schema::ImageStore::Client> Connection::images() {
  auto client = co_await service("image.oci");
  co_return client.castAs<schema::ImageStore>();
}

Task<schema::Templates::Client> Connection::templates(kj::StringPtr plugin) {
  auto client = co_await service(plugin);
  co_return client.castAs<schema::Templates>();
}

Task<schema::Trust::Client> Connection::trust() {
  auto client = co_await service("trust");
  co_return client.castAs<schema::Trust>();
}

Task<capnp::Response<schema::Trust::StateResults>> Connection::trustState() {
  link = nullptr;
  auto client = co_await trust();
  co_return co_await client.stateRequest().send();
}

Task<schema::NodeDiscovery::Client> Connection::discovery() {
  auto client = co_await service("discovery");
  co_return client.castAs<schema::NodeDiscovery>();
}

Task<schema::ClusterControl::Client> Connection::clusterAgain(kj::TimePoint deadline,
                                                              kj::String why, kj::StringPtr then) {
  while (env.timer().now() < deadline) {
    co_await env.timer().afterDelay(RETRY_EVERY);
    link = nullptr;
    auto client = co_await attempt(gateway());
    if (!client.ok()) continue;
    auto request = client.value().serviceRequest();
    request.setName("cluster");
    kj::Promise<capnp::Response<schema::Gateway::ServiceResults>> lookUp = request.send();
    auto found = co_await attempt(env.timer().timeoutAt(deadline, kj::mv(lookUp)));
    if (!found.ok()) continue;
    co_return found.value().getCapability().castAs<schema::ClusterControl>();
  }
  if (why.endsWith(".")) why = kj::heapString(why.begin(), why.size() - 1);
  fail(kj::str("lost the connection to orchd at '", shown, "' (", why,
               ") and could not reach it again within 5 s; ", then));
}

}  // namespace orch::cli
