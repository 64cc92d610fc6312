// Who may do everything from any host: the certificates that were given to admins and that nobody
// has removed.
#pragma once

#include "manager.h"
#include "member/membership.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/schema/trust.capnp.h"
#include "serve/service-requests.h"

namespace orch::control::manager {

// On the loop. What it hands out is kept alive by `owner`.
class Admins final : public ChangeObserver {
 public:
  static constexpr size_t MOST = 1'000;

  // The certificates that one has at once: each host that it has its key on renews for itself.
  static constexpr size_t MOST_CERTIFICATES = 16;

  Admins(kj::Refcounted& owner, Host& host, Manager& manager, Membership& members);
  KJ_DISALLOW_COPY(Admins);

  // The service `admin`, for the kernel of a node that one has come to.
  capnp::Capability::Client admission(schema::Peer::Reader peer);
  // `renewal` of an admin: another certificate, beside those that are not out of date.
  capnp::Capability::Client renewing(schema::Peer::Reader peer);

 private:
  class AdmissionServer;
  class RenewalServer;
  class Watch;
  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void reloaded() override;

  // Fails if it is none of the cluster's admins: never was, or not any more.
  const Object& require(schema::Peer::Reader peer) const;

  kj::Refcounted& owner;
  Host& host;
  Manager& manager;
  Membership& members;
  std::multimap<std::string, Watch*> watches;  // by the admin's id; each takes itself out
};

// In a request's decision. `certificate`: PEM.
Answer addAdmin(View& view, kj::StringPtr requestId, kj::StringPtr name,
                const std::string& certificate);
void renewAdmin(View& view, const std::string& id, const std::string& certificate);
Answer removeAdmin(View& view, kj::StringPtr requestId, kj::StringPtr name);

}  // namespace orch::control::manager
