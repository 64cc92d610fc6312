// `orch plan` and `orch apply`: works out what changes would do, and makes them if they would still
// do the same.
#pragma once

#include <deque>

#include "plan/prediction.h"
#include "serve/cluster-server.h"

namespace orch::control::manager {

class Plans final {
 public:
  explicit Plans(ClusterParts& parts);
  KJ_DISALLOW_COPY(Plans);

  using PlanContext =
      capnp::CallContext<schema::ClusterControl::PlanParams, schema::ClusterControl::PlanResults>;
  using ApplyContext =
      capnp::CallContext<schema::ClusterControl::ApplyParams, schema::ClusterControl::ApplyResults>;
  Task<void> plan(PlanContext context);
  Task<void> apply(ApplyContext context);

 private:
  using Changes = capnp::List<schema::PlannedChange>;
  struct Kept {
    std::string id;
    int64_t atNs;
    kj::Own<capnp::MallocMessageBuilder> changes;  // PlanParams, with images pinned
    Changes::Reader list();
  };

  Task<Offer> offerFor(Changes::Reader changes);
  Task<void> pinImages(Changes::Builder changes, std::vector<std::string>& warnings);
  // `revision`: of the state that it was worked out from.
  Task<void> workOut(Changes::Reader changes, schema::Plan::Builder plan, uint64_t& revision);
  Task<void> predict(View& view, Changes::Reader changes, const Offer& offer,
                     schema::Plan::Builder plan);
  Task<void> findNeeds(View& view, const std::set<std::string>& services,
                       schema::Plan::Builder plan);
  void keep(const std::string& id, kj::Own<capnp::MallocMessageBuilder> changes);
  Kept& known(kj::StringPtr id);

  ClusterParts& parts;
  Scheduling scheduling;
  std::deque<Kept> kept;  // the newest last
};

}  // namespace orch::control::manager
