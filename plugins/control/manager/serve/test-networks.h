// For the tests of networks: two nodes that can have them, and what users ask for.
#pragma once

#include <catch2/catch.hpp>

#include "orch/fail.h"
#include "test-cluster.h"

namespace orch::control::manager {

struct NetworkFixture : TestCluster {
  NetworkFixture() {
    start();
    one = &addNode("node1");
    two = &addNode("node2");
    two->address = "192.168.0.2:2377";
    for (auto node : {one, two}) {
      node->drivers = {"network.overlay"};
      node->open();
    }
    settle();
  }

  using Fill = std::function<void(schema::Network::Builder)>;
  std::string make(const std::string& name, const Fill& more = nullptr) {
    auto request = control.createNetworkRequest();
    request.setRequestId(("make-" + std::to_string(++made)).c_str());
    auto network = request.initNetwork();
    network.setName(name.c_str());
    if (more) more(network);
    auto sent = request.send();
    settle();
    return sent.wait(world.waitScope()).getNetwork().getMeta().getId().cStr();
  }
  std::string makeError(const std::string& name, const Fill& more) {
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] { make(name, more); })) {
      return plainText(*error).cStr();
    }
    return "";
  }
  std::string remove(const std::string& name) {
    std::string failure;
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] {
                   auto request = control.removeNetworkRequest();
                   request.setRequestId(("remove-" + std::to_string(++removals)).c_str());
                   request.setId(name.c_str());
                   auto sent = request.send();
                   settle();
                   sent.wait(world.waitScope());
                 })) {
      failure = plainText(*error).cStr();
    }
    return failure;
  }
  capnp::Response<schema::ClusterControl::NetworkResults> network(const std::string& name) {
    auto request = control.networkRequest();
    request.setId(name.c_str());
    return request.send().wait(world.waitScope());
  }
  static Spec on(const std::string& network, uint32_t replicas, const std::string& name = "web") {
    Spec spec{name, replicas};
    spec.more = [network](schema::ServiceSpec::Builder it) {
      auto attachment = it.getTask().initNetworks(1)[0];
      attachment.setName(network.c_str());
      attachment.initAliases(1).set(0, "db");
    };
    return spec;
  }
  // The text that `orch init` with these pools fails with; empty if it does not.
  std::string init(const std::vector<const char*>& pools, uint8_t prefix = 0) {
    auto request = control.initRequest();
    request.setRequestId(("init-" + std::to_string(++inits)).c_str());
    auto list = request.initAddressPools(pools.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, pools[i]);
    request.setAddressPoolPrefix(prefix);
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] {
                   auto sent = request.send();
                   settle();
                   sent.wait(world.waitScope());
                 })) {
      return plainText(*error).cStr();
    }
    return "";
  }
  std::string subnet(const std::string& name) {
    return network(name).getNetwork().getSubnet().cStr();
  }
  // Addresses of the service's tasks, by slot.
  std::vector<std::string> addresses(const std::string& name = "web") {
    std::vector<std::string> found;
    auto listed = tasks(name);
    for (auto task : listed.getTasks()) {
      for (auto leg : task.getLegs()) found.push_back(leg.getAddress().cStr());
    }
    return found;
  }
  std::string virtualAddress(const std::string& name = "web") {
    auto answer = service(name);
    auto list = answer.getService().getAddresses();
    return list.size() == 0 ? "" : list[0].getAddress().cStr();
  }

  ScriptedNode* one;
  ScriptedNode* two;
  int made = 0;
  int removals = 0;
  int inits = 0;
};

}  // namespace orch::control::manager
