// Some of the methods of the service `cluster`, by their names.
#pragma once

#include <capnp/schema.h>

#include <initializer_list>
#include <set>

#include "orch/schema/cluster.capnp.h"

namespace orch::control::manager {

class ClusterMethods final {
 public:
  ClusterMethods(std::initializer_list<kj::StringPtr> names) {
    auto all = capnp::Schema::from<schema::ClusterControl>();
    for (auto name : names) numbers.insert(all.getMethodByName(name).getOrdinal());
  }
  bool has(uint16_t number) const { return numbers.count(number) > 0; }

 private:
  std::set<uint16_t> numbers;
};

}  // namespace orch::control::manager
