#include "container-request.h"

#include "lib/task-template.h"

namespace orch::control::agent {

namespace {
constexpr uint64_t OWN_WORDS = 128;  // structs, the task's names, the labels that every task gets

// Its resolver asks network.dns alone, which asks the user's servers. A short name is first looked
// for in the networks: with `ndots:0` musl would never try a search list.
void useNameServer(schema::TaskSpec::Reader task, schema::ContainerSpec::Builder container) {
  container.initDns(1).set(0, "127.0.0.11");
  auto networks = task.getNetworks();
  auto own = task.getContainer().getDnsSearch();
  auto search = container.initDnsSearch(networks.size() + own.size());
  uint32_t i = 0;
  for (auto network : networks) search.set(i++, network.getName());
  for (auto domain : own) search.set(i++, domain);
}

// What the task's own name stands for inside: what its networks know it by comes first, since a
// program may tell others. The node's own network is of no use to a task that has no way out.
void fillAddresses(schema::Task::Reader task, kj::StringPtr own,
                   schema::ContainerRequest::Builder request) {
  auto legs = task.getLegs();
  bool closed = isClosed(task);
  auto list = request.initAddresses(legs.size() + (closed ? 0 : 1));
  for (uint32_t i = 0; i < legs.size(); ++i) list.set(i, legs[i].getAddress());
  if (!closed) list.set(legs.size(), own);
}
}  // namespace

capnp::MessageSize sizeOfContainerRequest(TaskRecord& record,
                                          kj::Maybe<schema::ImageInfo::Reader> image) {
  auto size = record.task().asReader().getSpec().totalSize();
  KJ_IF_MAYBE (present, image) size.wordCount += present->totalSize().wordCount;
  size.wordCount += OWN_WORDS;
  return size;
}

void fillContainerRequest(TaskRecord& record, const NodeIdentity& node,
                          kj::Maybe<schema::ImageInfo::Reader> image,
                          kj::Maybe<schema::Endpoint::Reader> endpoint,
                          schema::ContainerRequest::Builder request) {
  auto task = record.task().asReader();
  auto spec = task.getSpec();
  auto name = record.name();
  request.setId(record.id());
  request.setSpec(spec.getContainer());
  if (hasTemplates(spec.getContainer())) {
    auto slot = task.getSlot();
    fillTemplates(request.getSpec(),
                  {task.getServiceId(), task.getServiceName(), task.getServiceLabels(),
                   task.getNodeId(), node.hostname, "linux", node.architecture, record.id(), name,
                   slot == 0 ? kj::str(task.getNodeId()) : kj::str(slot)});
  }
  if (task.getLegs().size() > 0) useNameServer(spec, request.getSpec());
  request.setResources(spec.getResources());
  KJ_IF_MAYBE (present, image) {
    request.setImage(present->getConfig());
    request.setLayers(present->getLayers());
  }
  request.setLog(spec.getLog());
  request.setTaskName(name);
  KJ_IF_MAYBE (leg, endpoint) {
    request.getNetwork().setNamespace(leg->getNamespacePath());
    fillAddresses(task, leg->getAddress(), request);
  } else if (spec.getNetworks().size() > 0 && spec.getNetworks()[0].getName() == "host") {
    request.getNetwork().setHost();
  } else {
    request.getNetwork().setNone();
  }

  auto own = spec.getContainer().getLabels();
  constexpr uint32_t OURS = 4;
  auto labels = request.initLabels(own.size() + OURS);
  auto put = [&](uint32_t i, kj::StringPtr key, kj::StringPtr value) {
    labels[i].setKey(key);
    labels[i].setValue(value);
  };
  put(0, "orch.service.id", task.getServiceId());
  put(1, "orch.service.name", task.getServiceName());
  put(2, "orch.task.id", record.id());
  put(3, "orch.task.name", name);
  for (uint32_t i = 0; i < own.size(); ++i) put(OURS + i, own[i].getKey(), own[i].getValue());
}

}  // namespace orch::control::agent
