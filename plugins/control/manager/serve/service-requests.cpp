#include "serve/service-requests.h"

#include "config.capnp.h"
#include "decide/address-allocator.h"
#include "decide/dependencies.h"
#include "decide/port-allocator.h"
#include "decide/slot-rules.h"
#include "decide/spec-change.h"
#include "decide/spec-history.h"
#include "orch/fail.h"
#include "serve/address-needs.h"
#include "serve/resolve.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_REQUEST_ID = 64;

void checkVersion(const View& view, schema::Service::Reader service, const std::string& id,
                  uint64_t version) {
  if (version == 0) return;
  auto stored = view.base().find(Kind::SERVICE, id);
  bool changedNow = view.changes().count(Key{Kind::SERVICE, id}) > 0;
  uint64_t actual = stored == nullptr ? 0 : stored->revision;
  if (actual == version && !changedNow) return;
  fail(kj::str("update out of sequence: service '", service.getSpec().getName(), "' is at version ",
               changedNow ? kj::str("past ", actual) : kj::str(actual),
               ", the update was made from ", version, "; read it again and repeat the change"));
}

void refuseOtherIdentity(schema::ServiceSpec::Reader old, schema::ServiceSpec::Reader spec) {
  if (old.getName() != spec.getName()) {
    fail(kj::str("usage: renaming services is not supported: service '", old.getName(),
                 "' cannot become '", spec.getName(), "'"));
  }
  if (old.getMode().which() != spec.getMode().which()) {
    fail(kj::str("usage: service mode change is not allowed: service '", old.getName(), "'"));
  }
}
}  // namespace

void requireCluster(const View& view) {
  if (view.cluster() == nullptr) fail(kj::str("there is no cluster yet; 'orch init' makes one"));
}

std::string earlier(const View& view, kj::StringPtr requestId, kj::StringPtr method) {
  if (requestId.size() == 0 || requestId.size() > MAX_REQUEST_ID) {
    fail(kj::str("usage: a request id has 1 to ", MAX_REQUEST_ID, " characters"));
  }
  KJ_IF_MAYBE (record, view.find<RequestRecord>(Kind::REQUEST, manager::view(requestId))) {
    if (record->getMethod() != method) {
      fail(kj::str("usage: the request id '", requestId, "' was used for '", record->getMethod(),
                   "' before"));
    }
    return text(record->getResultId());
  }
  return {};
}

void remember(View& view, kj::StringPtr requestId, kj::StringPtr method,
              const std::string& resultId) {
  capnp::MallocMessageBuilder message;
  auto record = message.initRoot<RequestRecord>();
  record.setId(requestId);
  record.setMethod(method);
  record.setResultId(resultId.c_str());
  record.setAtNs(view.now());
  view.put(Key{Kind::REQUEST, requestId.cStr()}, toWords(record.asReader()));
}

Answer createService(View& view, kj::StringPtr requestId, schema::ServiceSpec::Reader spec,
                     const Offer& offer) {
  auto before = earlier(view, requestId, "createService");
  if (!before.empty()) return {before, {}};
  requireCluster(view);
  Answer answer;
  validateSpec(view, spec, offer, answer.warnings);
  if (!view.serviceNamed(manager::view(spec.getName())).empty()) {
    fail(
        kj::str("service '", spec.getName(), "' exists already; choose another name or update it"));
  }
  checkAddresses(view, spec, nullptr);
  auto published = allocatePorts(view, spec, {});
  auto addresses = chooseVirtualAddresses(view, spec, nullptr);
  answer.id = view.create<schema::Service>(Kind::SERVICE, [&](schema::Service::Builder service) {
    service.setSpec(spec);
    service.setSpecVersion(1);
    service.setSpecAtNs(view.now());
    setPorts(service, spec, published);
    setAddresses(service, addresses);
  });
  remember(view, requestId, "createService", answer.id);
  return answer;
}

Answer updateService(View& view, kj::StringPtr requestId, kj::StringPtr typed, uint64_t version,
                     schema::ServiceSpec::Reader spec, const Offer& offer) {
  auto before = earlier(view, requestId, "updateService");
  if (!before.empty()) return {before, {}};
  Answer answer;
  answer.id = resolveService(view, typed);
  auto service = KJ_ASSERT_NONNULL(view.service(answer.id));
  auto old = service.getSpec();
  checkVersion(view, service, answer.id, version);
  validateSpec(view, spec, offer, answer.warnings);
  refuseOtherIdentity(old, spec);
  checkAddresses(view, spec, old);
  changeSpec(view, answer.id, spec, {schema::UpdateStatus::State::UPDATING, "update in progress"});
  remember(view, requestId, "updateService", answer.id);
  return answer;
}

void keepLogin(View& view, const std::string& id, kj::ArrayPtr<const kj::byte> sealed) {
  if (sealed.size() == 0 || view.service(id) == nullptr) return;
  view.editService(id, [&](schema::Service::Builder service) { service.setSealedLogin(sealed); });
}

Answer scaleService(View& view, kj::StringPtr requestId, kj::StringPtr typed, uint32_t replicas) {
  auto before = earlier(view, requestId, "scaleService");
  if (!before.empty()) return {before, {}};
  Answer answer;
  answer.id = resolveService(view, typed);
  auto service = KJ_ASSERT_NONNULL(view.service(answer.id));
  checkReplicas(replicas);
  uint32_t had = 0;
  KJ_IF_MAYBE (number, replicasOf(service.getSpec())) {
    had = *number;
  } else {
    fail(kj::str("usage: only replicated services can be scaled: service '",
                 service.getSpec().getName(), "' is global, with one task on each node"));
  }
  capnp::MallocMessageBuilder message;
  message.setRoot(service.getSpec());
  auto scaled = message.getRoot<schema::ServiceSpec>();
  setReplicas(scaled, replicas);
  checkAddresses(view, scaled.asReader(), service.getSpec());
  if (isJob(service.getSpec())) {
    changeSpec(view, answer.id, scaled.asReader(), {});
  } else if (had != replicas) {
    view.editService(answer.id, [&](schema::Service::Builder builder) {
      setReplicas(builder.getSpec(), replicas);
      // The way back is not about how many there are.
      setPastReplicas(builder, replicas);
      builder.setSpecAtNs(view.now());
    });
  }
  remember(view, requestId, "scaleService", answer.id);
  return answer;
}

Answer rollbackService(View& view, kj::StringPtr requestId, kj::StringPtr typed, uint64_t to) {
  auto before = earlier(view, requestId, "rollbackService");
  if (!before.empty()) return {before, {}};
  Answer answer;
  answer.id = resolveService(view, typed);
  auto service = KJ_ASSERT_NONNULL(view.service(answer.id));
  if (to == 0 && !service.hasPreviousSpec()) {
    fail(kj::str("service '", service.getSpec().getName(),
                 "' has no spec to go back to: it was not updated yet"));
  }
  auto back = to == 0 ? service.getPreviousSpec() : pastSpec(service, to);
  // What an older one is attached to may be gone.
  if (to != 0) validateSpec(view, back, {}, answer.warnings);
  checkAddresses(view, back, service.getSpec());
  rollBack(view, answer.id, back, "rollback in progress");
  remember(view, requestId, "rollbackService", answer.id);
  return answer;
}

Answer removeService(View& view, kj::StringPtr requestId, kj::StringPtr typed) {
  auto before = earlier(view, requestId, "removeService");
  if (!before.empty()) return {before, {}};
  Answer answer;
  answer.id = resolveService(view, typed);
  auto service = KJ_ASSERT_NONNULL(view.service(answer.id));
  auto left = leftBehind(view, service);
  if (!left.empty()) {
    answer.warnings.push_back("service '" + text(service.getSpec().getName()) + "' is needed by " +
                              left + ": what runs of those goes on, and what starts waits");
  }
  view.erase(Key{Kind::SERVICE, answer.id});
  remember(view, requestId, "removeService", answer.id);
  return answer;
}

Answer initCluster(View& view, kj::StringPtr requestId, kj::StringPtr name, bool& created) {
  created = false;
  auto before = earlier(view, requestId, "init");
  if (!before.empty()) return {before, {}};
  Answer answer;
  KJ_IF_MAYBE (cluster, view.cluster()) {
    answer.id = text(cluster->getMeta().getId());
    if (name.size() > 0 && cluster->getName() != name) {
      fail(kj::str("this node is in the cluster '", cluster->getName(),
                   "' already, and clusters are not renamed; to name it yourself, set autoInit = "
                   "false for control.manager before orchd's first start"));
    }
    return answer;
  }
  if (name.size() > 0) checkName("cluster", name);
  created = true;
  answer.id = view.create<schema::Cluster>(Kind::CLUSTER, [&](schema::Cluster::Builder cluster) {
    cluster.setName(name.size() > 0 ? name : "default"_kj);
  });
  remember(view, requestId, "init", answer.id);
  return answer;
}

}  // namespace orch::control::manager
