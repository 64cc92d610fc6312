#include "kernel/rpc/guard.h"

#include <kj/debug.h>

#include "kernel/loop/turned-for.h"
#include "orch/hand-on.h"
#include "orch/schema/plugin.capnp.h"

namespace orch::rpc {

namespace {

using Type = kj::Exception::Type;

}  // namespace

bool saidByPlugin(const kj::Exception& exception) {
  return exception.getDescription().startsWith("remote exception: ");
}

// Takes the place of one object of the plugin for one call.
class Guard::Passage final : public capnp::Capability::Server {
 public:
  Passage(kj::Own<Guard> guard, capnp::Capability::Client target)
      : guard(kj::mv(guard)), target(kj::mv(target)) {}

  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId,
                                  CallContext context) override {
    return {guard->pass(target, interfaceId, methodId, context), false};
  }

 private:
  kj::Own<Guard> guard;
  capnp::Capability::Client target;
};

Guard::Guard(Plugin plugin, kj::Timer& timer, const MethodTable& methods, CallStats& stats)
    : plugin(std::move(plugin)), timer(timer), methods(methods), stats(stats) {}

void Guard::end(kj::StringPtr reason) {
  if (endedBecause != nullptr) return;
  endedBecause = kj::str(reason);
  stop.fulfiller->reject(gone(""));
}

kj::Exception Guard::gone(kj::StringPtr when) const {
  kj::StringPtr reason = "";
  KJ_IF_MAYBE (text, endedBecause) reason = *text;
  return kj::Exception(Type::DISCONNECTED, __FILE__, __LINE__,
                       kj::str("plugin '", plugin.id.c_str(), "': ", reason, when));
}

kj::Maybe<capnp::Capability::Client> Guard::inboundCall(uint64_t interfaceId, uint16_t,
                                                        capnp::Capability::Client target) {
  if (passing || interfaceId == capnp::typeId<schema::Plugin>()) return nullptr;
  return capnp::Capability::Client(kj::heap<Passage>(kj::addRef(*this), kj::mv(target)));
}

kj::Promise<void> Guard::pass(capnp::Capability::Client target, uint64_t interfaceId,
                              uint16_t methodId, CallContext context) {
  if (endedBecause != nullptr) return gone("; it is not running right now");
  auto params = context.getParams();
  passing = true;
  auto request = around(kj::mv(target)).typelessRequest(interfaceId, methodId, params.targetSize());
  passing = false;
  request.set(params);
  context.releaseParams();
  context.allowCancellation();
  auto begin = timer.now();
  auto call = answerBy(context, kj::mv(request));
  auto method = methods.find(interfaceId, methodId);
  auto answered = [this, begin, timed = !method.longRunning]() -> kj::Promise<void> {
    if (!timed) stats.addUntimed();
    if (timed) stats.add((timer.now() - begin) / kj::MICROSECONDS);
    return kj::READY_NOW;
  };
  auto failed = [this, name = method.name](kj::Exception&& exception) -> kj::Promise<void> {
    if (exception.getType() != Type::DISCONNECTED) {
      stats.addUntimed();
      return kj::mv(exception);
    }
    // A socket closes a moment before its process can be reaped and says why.
    bool dies = plugin.isolated && !saidByPlugin(exception);
    if (endedBecause == nullptr && !dies) return kj::mv(exception);
    return ending.addBranch().catch_([this, name](kj::Exception&&) -> kj::Promise<void> {
      return gone(kj::str(" while it was asked for '", name.c_str(), "'"));
    });
  };
  auto settled = call.then(kj::mv(answered), kj::mv(failed));
  if (method.longRunning) return settled;
  auto deadline = loop::turnedFor(timer, plugin.deadlineMs * kj::MILLISECONDS);
  auto late = deadline.then([this, name = method.name]() -> kj::Promise<void> {
    stats.addLate();
    return KJ_EXCEPTION(OVERLOADED, kj::str("plugin '", plugin.id.c_str(), "' has not answered '",
                                            name.c_str(), "' within ", plugin.deadlineMs, " ms"));
  });
  return settled.exclusiveJoin(kj::mv(late));
}

}  // namespace orch::rpc
