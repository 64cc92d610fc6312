#include "container-request.h"

#include "lib/task-template.h"
#include "orch/generic-resources.h"

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

// In the place of what the user may have set by that name: it is what the manager counts.
void addResources(GenericResources::Reader resources, schema::ContainerSpec::Builder container) {
  if (resources.size() == 0) return;
  kj::Vector<kj::String> lines;
  for (auto line : container.getEnv().asReader()) lines.add(kj::str(line));
  for (auto resource : resources) {
    auto added = environmentText(resource);
    auto name = kj::heapString(added.begin(), KJ_ASSERT_NONNULL(added.findFirst('=')) + 1);
    kj::Vector<kj::String> others;
    for (auto& line : lines) {
      if (!line.startsWith(name)) others.add(kj::mv(line));
    }
    lines = kj::mv(others);
    lines.add(kj::mv(added));
  }
  auto env = container.initEnv(lines.size());
  for (uint32_t i = 0; i < env.size(); ++i) env.set(i, lines[i]);
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

void fillTemplates(TaskRecord& record, const NodeIdentity& node,
                   schema::ContainerSpec::Builder container) {
  if (!hasTemplates(container)) return;
  auto task = record.task().asReader();
  auto slot = task.getSlot();
  auto name = record.name();
  control::fillTemplates(
      container, {task.getServiceId(), task.getServiceName(), task.getServiceLabels(),
                  task.getNodeId(), node.hostname, "linux", node.architecture, record.id(), name,
                  slot == 0 ? kj::str(task.getNodeId()) : kj::str(slot)});
}

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
  fillTemplates(record, node, request.getSpec());
  addResources(task.getGeneric(), request.getSpec());
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
