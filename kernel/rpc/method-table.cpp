#include "kernel/rpc/method-table.h"

#include <capnp/schema.capnp.h>

#include "kernel/config/settings.h"

namespace orch::rpc {

namespace {
// `annotation longRunning` of plugin.capnp: capnp makes no constant for it.
constexpr uint64_t LONG_RUNNING_ID = 0x96150f19b00025dc;
}  // namespace

void MethodTable::learn(kj::ArrayPtr<const kj::byte> request) {
  config::CompiledSchema compiled(request);
  for (auto node : compiled.root().getNodes()) {
    if (!node.isInterface()) continue;
    auto list = node.getInterface().getMethods();
    for (uint16_t id = 0; id < list.size(); ++id) {
      Method method{list[id].getName().cStr()};
      for (auto annotation : list[id].getAnnotations()) {
        method.longRunning = method.longRunning || annotation.getId() == LONG_RUNNING_ID;
      }
      methods.try_emplace({node.getId(), id}, std::move(method));
    }
  }
}

MethodTable::Method MethodTable::find(uint64_t interfaceId, uint16_t methodId) const {
  auto found = methods.find({interfaceId, methodId});
  if (found != methods.end()) return found->second;
  return Method{"method " + std::to_string(methodId)};
}

}  // namespace orch::rpc
