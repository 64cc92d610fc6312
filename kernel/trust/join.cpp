#include "kernel/trust/join.h"

#include <arpa/inet.h>
#include <kj/debug.h>
#include <sys/socket.h>

#include "kernel/trust/peer-listener.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/host-addresses.h"

namespace orch::trust {

namespace {

// The address of this host that the other end sees.
std::string ownAddress(kj::AsyncIoStream& stream) {
  struct sockaddr_storage storage = {};
  kj::uint length = sizeof(storage);
  stream.getsockname(reinterpret_cast<struct sockaddr*>(&storage), &length);
  bool v4 = storage.ss_family == AF_INET;
  const void* ip = v4 ? static_cast<void*>(&reinterpret_cast<sockaddr_in&>(storage).sin_addr)
                      : &reinterpret_cast<sockaddr_in6&>(storage).sin6_addr;
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(storage.ss_family, ip, text, sizeof(text));
  return withNodePort(text).cStr();
}

// The authority of the cluster, which has to be the token's.
Task<std::string> introduce(Env& env, kj::String address, std::string digest) {
  auto stream = co_await reach(env, kj::str(address));
  PeerLink link(kj::mv(stream));
  kj::Promise<capnp::Response<schema::Introduction::AuthorityResults>> asked =
      link.bootstrap<schema::Introduction>().authorityRequest().send();
  auto answer = co_await limited(env, kj::mv(asked), HANDSHAKE_LIMIT);
  std::string authority = answer.getCertificate().cStr();
  if (digestOf(authority) != digest) {
    fail(kj::str(
        "it is of another cluster than the token, or its authority has been replaced since; "
        "nothing was sent to it"));
  }
  checkTimes(authority, "the authority of the cluster", env.nowNs());
  co_return authority;
}

Task<Credentials> joinAt(Env& env, kj::String at, Token token, Addresses own) {
  auto keys = newKeyRequest();
  Credentials credentials;
  credentials.key = keys.key;
  auto authority = co_await introduce(env, kj::str(at), token.digest);
  credentials.trusted.authorities = authority;
  auto tls = newTls(env, authority, "", "", false);
  auto stream = co_await reach(env, kj::str(at));
  credentials.address =
      own.advertise.empty() ? ownAddress(*stream) : withNodePort(own.advertise.c_str()).cStr();
  // What could not be done afterwards either: the manager is not told of a node that cannot be one.
  auto& listen = own.listen.empty() ? credentials.address : own.listen;
  { auto receiver = co_await listenAt(env, kj::str(listen.c_str())); }
  co_await stream->write("J", 1);
  auto secured = co_await secure(env, *tls, kj::mv(stream));
  PeerLink link(kj::mv(secured));
  auto find = link.bootstrap<schema::Gateway>().serviceRequest();
  find.setName("join");
  auto request = find.send().getCapability().castAs<schema::Join>().joinRequest();
  request.setSecret(token.secret.c_str());
  request.setRequest(keys.request.c_str());
  kj::Promise<capnp::Response<schema::Join::JoinResults>> asked = request.send();
  auto answer = co_await limited(env, kj::mv(asked), HANDSHAKE_LIMIT);
  credentials.certificate = answer.getCertificate().cStr();
  for (auto manager : answer.getManagers()) credentials.managers.push_back(manager.cStr());
  auto trusted = trustedOf(answer.getTrusted());
  // It says so over a connection that the token's authority vouches for.
  if (!trusted.authorities.empty()) credentials.trusted = kj::mv(trusted);
  checkSigned(credentials.certificate, credentials.trusted.authorities, credentials.key);
  co_return kj::mv(credentials);
}

}  // namespace

Task<Credentials> joinCluster(Env& env, kj::String text, std::vector<std::string> managers,
                              Addresses own) {
  auto token = parseToken(text.cStr());
  if (managers.empty()) fail(kj::str("usage: name a manager, as in 10.0.0.1:2377"));
  kj::String reasons;
  for (auto& manager : managers) {
    auto at = withNodePort(manager.c_str());
    auto joined = co_await attempt(joinAt(env, kj::str(at), token, own));
    if (joined.ok()) {
      if (joined.value().managers.empty()) joined.value().managers.push_back(at.cStr());
      co_return kj::mv(joined.value());
    }
    reasons =
        kj::str(reasons, reasons.size() > 0 ? "; " : "", "manager '", at, "': ", joined.message());
  }
  fail(kj::str("cannot join: ", reasons));
}

}  // namespace orch::trust
