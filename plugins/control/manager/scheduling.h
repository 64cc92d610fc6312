// Gives nodes to the tasks that wait for one: the built-in checks here, the choice by the strategy
// plugin that the service names, one call per group of equal tasks.
#pragma once

#include <map>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/scheduler.capnp.h"
#include "view.h"

namespace orch::control::manager {

class Scheduling final {
 public:
  // `defaultService` is the strategy of services that name none: "scheduler.spread".
  Scheduling(Env& env, Host& host, kj::StringPtr defaultService)
      : env(env), host(host), defaultService(defaultService) {}
  KJ_DISALLOW_COPY(Scheduling);

  // Places what it can of the service's waiting tasks and writes down why the others wait. Fails
  // never. True if the strategy could not be asked: try again later.
  Task<bool> place(View& view, std::string serviceId);
  // The strategies that there are: `spread`.
  Task<kj::Vector<kj::String>> strategies();

 private:
  struct Group;
  Task<bool> placeGroup(View& view, Group& group);
  Task<kj::Vector<kj::String>> choose(View& view, Group& group, kj::String strategy);
  schema::PlacementTable::Client& table(kj::StringPtr strategy);
  void describeNodes(const View& view, const Group& group, schema::PlacementTable::Client& table);

  Env& env;
  Host& host;
  kj::StringPtr defaultService;
  std::map<std::string, schema::PlacementTable::Client> tables;  // by service name
};

}  // namespace orch::control::manager
