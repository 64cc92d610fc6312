#include "kernel/rpc/service-proxy.h"

#include <capnp/schema.h>
#include <kj/debug.h>

#include <map>
#include <set>

#include "kernel/loop/turned-for.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/schema/image.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/schema/plugin.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "orch/schema/scheduler.capnp.h"
#include "orch/schema/store.capnp.h"

namespace orch::rpc {

namespace {

// `annotation longRunning` of plugin.capnp: capnp makes no constant for it.
constexpr uint64_t LONG_RUNNING_ID = 0x96150f19b00025dc;
using LongRunningSet = std::set<std::pair<uint64_t, uint16_t>>;

template <typename... Interfaces>
LongRunningSet collect() {
  LongRunningSet found;
  auto look = [&](capnp::InterfaceSchema schema) {
    for (auto method : schema.getMethods()) {
      for (auto annotation : method.getProto().getAnnotations()) {
        if (annotation.getId() == LONG_RUNNING_ID) {
          found.emplace(schema.getProto().getId(), method.getOrdinal());
        }
      }
    }
  };
  (look(capnp::Schema::from<Interfaces>()), ...);
  return found;
}

class ServiceProxy final : public capnp::Capability::Server {
 public:
  explicit ServiceProxy(kj::Own<ServiceTarget> target) : target(kj::mv(target)) {}

  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override {
    return {forward(interfaceId, methodId, context), false};
  }

 private:
  kj::Promise<void> forward(uint64_t interfaceId, uint16_t methodId,
                            capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) {
    KJ_IF_MAYBE (client, target->current) {
      auto params = context.getParams();
      auto request = client->typelessRequest(interfaceId, methodId, params.targetSize());
      request.set(params);
      context.releaseParams();
      context.allowCancellation();
      auto& timer = target->timer;
      auto begin = timer.now();
      auto call = context.tailCall(kj::mv(request));
      if (isLongRunning(interfaceId, methodId)) return call.attach(kj::addRef(*target));
      auto late = loop::turnedFor(timer, target->deadlineMs * kj::MILLISECONDS)
                      .then([this]() -> kj::Promise<void> {
                        if (target->stats != nullptr) target->stats->addLate();
                        return KJ_EXCEPTION(OVERLOADED, kj::str("'", target->name.c_str(),
                                                                "' has not answered within ",
                                                                target->deadlineMs, " ms"));
                      });
      auto answered = [this, begin]() -> kj::Promise<void> {
        if (target->stats != nullptr) {
          target->stats->add((target->timer.now() - begin) / kj::MICROSECONDS);
        }
        return kj::READY_NOW;
      };
      auto failed = [this](kj::Exception&& exception) -> kj::Promise<void> {
        bool alive = exception.getType() != kj::Exception::Type::DISCONNECTED;
        if (alive && target->stats != nullptr) target->stats->answered();
        return kj::mv(exception);
      };
      return call.then(kj::mv(answered), kj::mv(failed)).exclusiveJoin(kj::mv(late));
    }
    return kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                         kj::str("'", target->name.c_str(), "' is not running right now"));
  }

  kj::Own<ServiceTarget> target;
};

}  // namespace

capnp::Capability::Client newServiceProxy(kj::Own<ServiceTarget> target) {
  return capnp::Capability::Client(kj::heap<ServiceProxy>(kj::mv(target)));
}

bool isLongRunning(uint64_t interfaceId, uint16_t methodId) {
  static const LongRunningSet METHODS =
      collect<schema::ClusterControl, schema::Agent, schema::Dispatcher, schema::Session,
              schema::Kernel, schema::Gateway, schema::ImageStore, schema::NetworkDriver,
              schema::Plugin, schema::Host, schema::Runtime, schema::Scheduler,
              schema::PlacementTable, schema::Store>();
  return METHODS.count({interfaceId, methodId}) > 0;
}

}  // namespace orch::rpc
