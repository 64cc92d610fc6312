#include "container-request.h"

namespace orch::control::agent {

namespace {
constexpr uint64_t OWN_WORDS = 128;  // structs, the task's names, the labels that every task gets
}

capnp::MessageSize sizeOfContainerRequest(TaskRecord& record,
                                          kj::Maybe<schema::ImageInfo::Reader> image) {
  auto size = record.task().asReader().getSpec().totalSize();
  KJ_IF_MAYBE (present, image) size.wordCount += present->totalSize().wordCount;
  size.wordCount += OWN_WORDS;
  return size;
}

void fillContainerRequest(TaskRecord& record, kj::Maybe<schema::ImageInfo::Reader> image,
                          kj::Maybe<schema::Endpoint::Reader> endpoint,
                          schema::ContainerRequest::Builder request) {
  auto task = record.task().asReader();
  auto spec = task.getSpec();
  auto name = record.name();
  request.setId(record.id());
  request.setSpec(spec.getContainer());
  request.setResources(spec.getResources());
  KJ_IF_MAYBE (present, image) {
    request.setImage(present->getConfig());
    request.setLayers(present->getLayers());
  }
  request.setLog(spec.getLog());
  request.setTaskName(name);
  KJ_IF_MAYBE (leg, endpoint) {
    request.getNetwork().setNamespace(leg->getNamespacePath());
    request.initAddresses(1).set(0, leg->getAddress());
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
