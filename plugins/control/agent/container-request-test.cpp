// What a runtime is asked for.
#include "container-request.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <vector>

namespace orch::control::agent {
namespace {

using Addresses = std::vector<std::string>;

// Of a task with these legs; `named`: networks of its spec.
Addresses addressesOf(const std::vector<std::pair<const char*, bool>>& legs, uint32_t named) {
  capnp::MallocMessageBuilder message;
  auto task = message.initRoot<schema::Task>();
  auto networks = task.initSpec().initNetworks(named);
  for (uint32_t i = 0; i < named; ++i) networks[i].setName(kj::str("net", i));
  auto list = task.initLegs(legs.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setAddress(legs[i].first);
    list[i].setInternal(legs[i].second);
  }
  TaskRecord record(task.asReader());
  auto endpoint = message.getOrphanage().newOrphan<schema::Endpoint>();
  endpoint.get().setAddress("172.30.0.2");
  endpoint.get().setNamespacePath("/run/netns/task");
  capnp::MallocMessageBuilder made;
  auto request = made.initRoot<schema::ContainerRequest>();
  fillContainerRequest(record, {"host-1", "x86_64"}, nullptr, endpoint.getReader(), request);
  Addresses addresses;
  for (auto address : request.getAddresses()) addresses.push_back(address.cStr());
  return addresses;
}

TEST_CASE("container: its name stands for its addresses on networks, and then for the node's",
          "[agent]") {
  CHECK(addressesOf({}, 0) == Addresses{"172.30.0.2"});
  CHECK(addressesOf({{"10.0.0.5/24", false}, {"10.0.1.5/24", true}}, 2) ==
        Addresses{"10.0.0.5/24", "10.0.1.5/24", "172.30.0.2"});
}

TEST_CASE("container: without a way out its name does not stand for one", "[agent]") {
  CHECK(addressesOf({{"10.0.1.5/24", true}}, 1) == Addresses{"10.0.1.5/24"});
  CHECK(addressesOf({{"10.0.1.5/24", true}}, 2) == Addresses{"10.0.1.5/24", "172.30.0.2"});
}

TEST_CASE("container: its templates are filled in, the record stays as it was", "[agent]") {
  capnp::MallocMessageBuilder message;
  auto task = message.initRoot<schema::Task>();
  task.initMeta().setId("t1");
  task.setServiceName("web");
  task.setSlot(2);
  auto container = task.initSpec().initContainer();
  container.setHostname("{{.Node.Hostname}}-{{.Task.Slot}}");
  container.initEnv(1).set(0, "NAME={{.Task.Name}}");
  auto mount = container.initMounts(1)[0];
  mount.setSource("data-{{.Task.Slot}}");
  mount.setTarget("/{{.Service.Name}}");
  TaskRecord record(task.asReader());
  capnp::MallocMessageBuilder made;
  auto request = made.initRoot<schema::ContainerRequest>();
  fillContainerRequest(record, {"host-1", "x86_64"}, nullptr, nullptr, request);
  auto spec = request.getSpec();
  CHECK(spec.getHostname() == "host-1-2");
  CHECK(spec.getEnv()[0] == "NAME=web.2.t1");
  CHECK(spec.getMounts()[0].getSource() == "data-2");
  CHECK(spec.getMounts()[0].getTarget() == "/web");
  CHECK(record.task().getSpec().getContainer().getHostname() == container.getHostname());
}

TEST_CASE("container: it is told which resources it has, whatever its user says", "[agent]") {
  capnp::MallocMessageBuilder message;
  auto task = message.initRoot<schema::Task>();
  auto env = task.initSpec().initContainer().initEnv(3);
  env.set(0, "DOCKER_RESOURCE_GPU=all");
  env.set(1, "A=1");
  env.set(2, "DOCKER_RESOURCE_GPUS=x");
  auto has = task.initGeneric(2);
  has[0].setKind("gpu");
  has[0].setAmount(2);
  auto names = has[0].initNames(2);
  names.set(0, "GPU-1");
  names.set(1, "{{GPU-2}}");
  has[1].setKind("Nvidia-ssd");
  has[1].setAmount(3);
  TaskRecord record(task.asReader());
  capnp::MallocMessageBuilder made;
  auto request = made.initRoot<schema::ContainerRequest>();
  fillContainerRequest(record, {"host-1", "x86_64"}, nullptr, nullptr, request);
  std::vector<std::string> lines;
  for (auto line : request.getSpec().getEnv()) lines.push_back(line.cStr());
  CHECK(lines == std::vector<std::string>{"A=1", "DOCKER_RESOURCE_GPUS=x",
                                          "DOCKER_RESOURCE_GPU=GPU-1,{{GPU-2}}",
                                          "DOCKER_RESOURCE_NVIDIA-SSD=3"});
  CHECK(record.task().getSpec().getContainer().getEnv().size() == 3);
}

}  // namespace
}  // namespace orch::control::agent
