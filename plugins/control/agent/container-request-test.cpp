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
  fillContainerRequest(record, nullptr, endpoint.getReader(), request);
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

}  // namespace
}  // namespace orch::control::agent
