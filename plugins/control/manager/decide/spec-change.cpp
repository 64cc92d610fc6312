#include "decide/spec-change.h"

#include "decide/address-allocator.h"
#include "decide/dependencies.h"
#include "decide/job-run.h"
#include "decide/port-allocator.h"
#include "decide/spec-history.h"
#include "decide/spec-meaning.h"

namespace orch::control::manager {

namespace {
using RolloutState = schema::UpdateStatus::State;

void beginRollout(View& view, schema::Service::Builder service, const Rollout& rollout) {
  auto status = service.initUpdate();
  status.setState(rollout.state);
  status.setStartedAtNs(view.now());
  status.setMessage(rollout.message.c_str());
}
}  // namespace

void setPorts(schema::Service::Builder service, schema::ServiceSpec::Reader spec,
              const std::vector<uint16_t>& published) {
  auto ports = service.initPorts(published.size());
  for (uint32_t i = 0; i < ports.size(); ++i) {
    ports.setWithCaveats(i, spec.getEndpoint().getPorts()[i]);
    ports[i].setPublished(published[i]);
  }
}

void setAddresses(schema::Service::Builder service,
                  const std::map<std::string, ChosenVirtual>& addresses) {
  auto list = service.initAddresses(addresses.size());
  uint32_t i = 0;
  for (auto& [network, chosen] : addresses) {
    list[i].setNetwork(network.c_str());
    list[i].setAddress(chosen.address.c_str());
    list[i++].setAddress6(chosen.address6.c_str());
  }
}

void changeSpec(View& view, const std::string& serviceId, schema::ServiceSpec::Reader spec,
                const Rollout& rollout) {
  auto service = KJ_ASSERT_NONNULL(view.service(serviceId));
  auto old = service.getSpec();
  auto published = allocatePorts(view, spec, serviceId);
  auto addresses = chooseVirtualAddresses(view, spec, service);
  bool paused = isPaused(service.getUpdate());
  bool changed = meaningOf(old) != meaningOf(spec);
  bool tasksChange = changed && taskMeaning(old) != taskMeaning(spec);
  if (!changed && !paused) return;
  for (auto address : service.getAddresses()) {
    if (addresses.count(text(address.getNetwork())) == 0) view.noteForgotten(address);
  }
  view.editService(serviceId, [&](schema::Service::Builder builder) {
    if (changed) {
      keepPast(builder, rollout.left);
      builder.setPreviousSpec(old);
    }
    builder.setSpec(spec);
    builder.setSpecAtNs(view.now());
    setPorts(builder, spec, published);
    setAddresses(builder, addresses);
    if (tasksChange) builder.setSpecVersion(service.getSpecVersion() + 1);
    if ((tasksChange || paused) && !isJob(spec)) beginRollout(view, builder, rollout);
  });
  if (isJob(spec)) changeRun(view, serviceId, old, tasksChange);
}

void rollBack(View& view, const std::string& serviceId, schema::ServiceSpec::Reader past,
              const std::string& message, const std::string& left) {
  std::vector<std::string> warnings;
  checkDependencies(view, past, warnings);  // others may have come to need it meanwhile
  changeSpec(view, serviceId, past, {RolloutState::ROLLBACK_STARTED, message, left});
}

schema::UpdateConfig::Reader policyOf(schema::Service::Reader service) {
  auto state = service.getUpdate().getState();
  bool back = state == RolloutState::ROLLBACK_STARTED || state == RolloutState::ROLLBACK_PAUSED;
  if (!back) return service.getSpec().getUpdate();
  return service.hasPreviousSpec() ? service.getPreviousSpec().getRollback()
                                   : service.getSpec().getRollback();
}

}  // namespace orch::control::manager
