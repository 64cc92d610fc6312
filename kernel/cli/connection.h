// The way to orchd. Connects when it is first needed.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/function.h>

#include "credentials.h"
#include "orch/attempt.h"
#include "orch/env.h"
#include "orch/fail.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/discovery.capnp.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/schema/image.capnp.h"
#include "orch/schema/template.capnp.h"
#include "orch/trust/tls.h"

namespace orch::cli {

// Whom to ask.
struct Target {
  kj::String socket;                // the path of a Unix socket; empty: a manager's port
  kj::Vector<kj::String> managers;  // `host:port`, of which the first that can be reached is asked
  kj::String credentials;           // folder of those that are shown to it; empty: the usual one
};
// `unix:///path`, `unix:/path` or a bare path; `tcp://host[:port][,host…]`; empty means the default
// socket.
// Fails with `usage: …` on any other scheme, and if a path is too long for a socket.
Target parseTarget(kj::StringPtr from, kj::StringPtr address);

class Connection final {
 public:
  static constexpr kj::StringPtr UNKNOWN =
      "whether the change was made is unknown: look with 'orch service ls', then ask again"_kj;

  // `env` outlives it.
  Connection(Env& env, Target target);
  KJ_DISALLOW_COPY(Connection);

  // Fails with what to do if nobody answers at the socket.
  Task<schema::Gateway::Client> gateway();
  // Services of orchd. Asking for one costs no round trip of its own: if there is none, the first
  // call to it fails with the reason.
  Task<schema::ClusterControl::Client> cluster();
  // Everything that is asked of the cluster is asked of this, until it is null.
  void useInstead(kj::Maybe<schema::ClusterControl::Client> cluster) { instead = kj::mv(cluster); }
  Task<schema::Kernel::Client> kernel();
  Task<schema::ImageStore::Client> images();
  Task<schema::NodeDiscovery::Client> discovery();
  Task<schema::Templates::Client> templates(kj::StringPtr plugin);
  Task<schema::Trust::Client> trust();
  // What this node is in a cluster; over a new connection, since orchd may have started again.
  Task<capnp::Response<schema::Trust::StateResults>> trustState();

  // A call that changes something. If the connection breaks before the answer, connects again and
  // sends the same once more (`send` must use the same request id), for at most five seconds: orchd
  // may be restarting. Then fails; the text ends with `then`, which says what is known. So does the
  // text of a refusal after that: what is refused now may have been done the first time.
  template <typename R>
  Task<capnp::Response<R>> change(
      kj::Function<capnp::RemotePromise<R>(schema::ClusterControl::Client&)> send,
      kj::StringPtr then = UNKNOWN);

  // As the user knows it.
  kj::StringPtr address() const { return shown; }
  bool isRemote() const { return target.socket.size() == 0; }
  // That the user's certificate comes to its end and could not be renewed; mostly empty.
  kj::StringPtr warning() const { return notRenewed; }
  // Of each answer that was read of the cluster and is shown: it may be old, as nobody leads.
  template <typename R>
  void noteAge(const R& response) {
    if (response.getAsOfNs() != 0 && oldestNs == 0) oldestNs = response.getAsOfNs();
  }
  // That what was read is old, and why; mostly empty.
  Task<kj::String> age();
  // What a handshake that failed says, as a sentence; other texts as they are.
  kj::String explained(kj::StringPtr text) const;

 private:
  struct Link {
    kj::Maybe<kj::Own<kj::TlsContext>> tls;
    kj::Own<kj::AsyncIoStream> stream;
    kj::Own<capnp::TwoPartyVatNetwork> network;
    kj::Own<capnp::RpcSystem<capnp::rpc::twoparty::VatId>> rpc;
  };
  Task<void> connect();
  Task<kj::Own<kj::AsyncIoStream>> toSocket();
  Task<kj::AuthenticatedStream> toManager(kj::TlsContext& tls);
  // Asks once for the user's next certificate, if it is time for it or the authority is another
  // one: then `replaced`; and for what the user is to trust, while that is more than one.
  Task<void> renew(kj::StringPtr folder, AdminCredentials own, bool replaced);
  Task<void> fetchRenewed(kj::StringPtr folder, const AdminCredentials& own);
  Task<void> fetchTrusted(kj::StringPtr folder, const AdminCredentials& own);
  // A cluster that answers, within `deadline`; `why` is what ended the connection before.
  Task<schema::ClusterControl::Client> clusterAgain(kj::TimePoint deadline, kj::String why,
                                                    kj::StringPtr then);
  Task<capnp::Capability::Client> service(kj::StringPtr name);

  Env& env;
  Target target;
  kj::String shown;
  kj::Maybe<kj::Own<Link>> link;
  kj::Maybe<schema::ClusterControl::Client> instead;
  bool renewalTried = false;
  kj::String notRenewed;
  int64_t oldestNs = 0;
};

template <typename R>
Task<capnp::Response<R>> Connection::change(
    kj::Function<capnp::RemotePromise<R>(schema::ClusterControl::Client&)> send,
    kj::StringPtr then) {
  auto client = co_await cluster();
  kj::Maybe<kj::TimePoint> giveUpAt;
  for (;;) {
    auto outcome = co_await attempt(send(client));
    if (outcome.ok()) co_return kj::mv(outcome.value());
    kj::Exception& error = outcome.error();
    if (error.getType() != kj::Exception::Type::DISCONNECTED) {
      if (giveUpAt == nullptr) kj::throwFatalException(kj::mv(error));
      fail(
          kj::str(plainText(error), "; the connection was lost when this was asked first: ", then));
    }
    auto deadline = giveUpAt.orDefault(env.timer().now() + 5 * kj::SECONDS);
    giveUpAt = deadline;
    auto again = co_await clusterAgain(deadline, kj::str(plainText(error)), then);
    client = kj::mv(again);
  }
}

}  // namespace orch::cli
