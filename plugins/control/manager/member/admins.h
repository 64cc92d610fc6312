// Who may do everything from any host: the certificates that were given to admins and that nobody
// has removed.
#pragma once

#include "manager.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/schema/trust.capnp.h"
#include "serve/service-requests.h"

namespace orch::control::manager {

// On the loop. What it hands out is kept alive by `owner`.
class Admins final : public ChangeObserver {
 public:
  static constexpr size_t MOST = 1'000;

  Admins(kj::Refcounted& owner, Manager& manager);
  KJ_DISALLOW_COPY(Admins);

  // The service `admin`, for the kernel of this node.
  schema::PeerService::Client admission();

 private:
  class AdmissionServer;
  class Watch;
  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void reloaded() override;

  kj::Refcounted& owner;
  Manager& manager;
  std::multimap<std::string, Watch*> watches;  // by the admin's id; each takes itself out
};

// In a request's decision. `certificate`: PEM.
Answer addAdmin(View& view, kj::StringPtr requestId, kj::StringPtr name,
                const std::string& certificate);
Answer removeAdmin(View& view, kj::StringPtr requestId, kj::StringPtr name);

}  // namespace orch::control::manager
