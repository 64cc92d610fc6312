// Gives a service another spec: by a user's request, or back to the one before.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "decide/address-allocator.h"
#include "state/view.h"

namespace orch::control::manager {

inline bool isPaused(schema::UpdateStatus::Reader update) {
  return update.getState() == schema::UpdateStatus::State::PAUSED ||
         update.getState() == schema::UpdateStatus::State::ROLLBACK_PAUSED;
}
// An update, or the way back from one.
inline bool isUnderWay(schema::UpdateStatus::Reader update) {
  return update.getState() == schema::UpdateStatus::State::UPDATING ||
         update.getState() == schema::UpdateStatus::State::ROLLBACK_STARTED;
}

// What begins if the tasks have to change for it, or an update of the service was paused.
struct Rollout {
  schema::UpdateStatus::State state;
  std::string message;
  std::string left = "";  // what was the matter with the spec before, if nobody chose to leave it
};

// Published ports and virtual addresses are chosen anew where the spec asks for others. Fails with
// a text for the user, before anything is changed, if there are none. The spec must be valid.
void changeSpec(View& view, const std::string& serviceId, schema::ServiceSpec::Reader spec,
                const Rollout& rollout);
// To one of its past specs; that of now is the one before afterwards.
void rollBack(View& view, const std::string& serviceId, schema::ServiceSpec::Reader past,
              const std::string& message, const std::string& left = "");

// The service's ports and addresses, as they were chosen.
void setPorts(schema::Service::Builder service, schema::ServiceSpec::Reader spec,
              const std::vector<uint16_t>& published);
void setAddresses(schema::Service::Builder service,
                  const std::map<std::string, ChosenVirtual>& addresses);

// How the service goes from one spec to the other now: by the policy that was given last for that,
// which after a change back is in the spec that was left.
schema::UpdateConfig::Reader policyOf(schema::Service::Reader service);

}  // namespace orch::control::manager
