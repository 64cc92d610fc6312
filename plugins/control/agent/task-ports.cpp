// What a task has of published ports: those of its node lead to it while it runs.
#include "task-controller.h"

namespace orch::control::agent {

namespace {
constexpr uint64_t PORT_WORDS = 4;  // of a published port in a message
}

Task<void> TaskController::publishPorts(schema::Endpoint::Reader endpoint) {
  if (!publishes()) co_return;
  co_await services.mustRun(PORTS);
  co_await services.cleared(PORTS);
  auto publish = insist(services.env, [this, endpoint]() {
    auto ports = task->task().asReader().getPorts();
    auto size = ports.size() * PORT_WORDS + SMALL.wordCount;
    auto request = services.ports().publishRequest(capnp::MessageSize{size, 1});
    request.setTaskId(task->id());
    request.setAddress(endpoint.getAddress());
    request.setAddress6(endpoint.getAddress6());
    request.setPorts(ports);
    return request.send();
  });
  auto published = co_await kj::mv(publish);
  kj::Vector<schema::PortSpec::Reader> hostPorts;
  for (auto port : published.getPorts()) {
    if (port.getMode() == schema::PortSpec::PublishMode::HOST) hostPorts.add(port);
  }
  auto list = task->status().initHostPorts(hostPorts.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.setWithCaveats(i, hostPorts[i]);
}

Task<void> TaskController::leadPorts() {
  if (!publishes() || active) co_return;
  co_await insist(services.env, [this]() {
    auto request = services.ports().activateRequest(SMALL);
    request.setTaskId(task->id());
    return request.send();
  });
  active = true;
}

Task<void> TaskController::leadPortsElsewhere() {
  if (!active) co_return;
  auto call = insist(services.env, [this]() {
    auto request = services.ports().deactivateRequest(SMALL);
    request.setTaskId(task->id());
    return request.send();
  });
  auto deactivated = co_await attempt(kj::mv(call));
  if (!deactivated.ok()) {
    services.host.log().warn("network.deactivate-failed",
                             {{"task", task->name()}, {"reason", deactivated.message()}});
  }
  active = false;
}

// Nobody is led to the task any more: those who are connected may finish what they are at.
Task<void> TaskController::drain() {
  auto reader = task->task().asReader();
  uint64_t limitMs = reader.getSpec().getContainer().getDrainMs();
  bool found = publishes() || reader.getLegs().size() > 0;
  if (!found || !bridged() || limitMs == 0) co_return;
  auto call = insist(services.env, [this, limitMs]() {
    auto request = services.network(networkName()).drainRequest(SMALL);
    request.setTaskId(task->id());
    request.setLimitMs(limitMs);
    return request.send();
  });
  auto drained = co_await attempt(kj::mv(call));
  if (!drained.ok()) {
    services.host.log().warn("network.drain-failed, stopping it all the same",
                             {{"task", task->name()}, {"reason", drained.message()}});
  } else if (drained.value().getOpen() > 0) {
    services.host.log().info(
        "connections of a task are broken off: --drain-timeout is over",
        {{"task", task->name()}, {"open", kj::str(drained.value().getOpen())}});
  }
}

Task<void> TaskController::withdrawPorts() {
  active = false;
  if (!publishes()) co_return;
  if (!services.hasRun(PORTS)) {
    // Nobody waits for a plugin that may never come. If it does, it hears of this first: what it
    // was told to keep may be older.
    auto request = services.ports().withdrawRequest(SMALL);
    request.setTaskId(task->id());
    request.send().ignoreResult().detach([](kj::Exception&&) {});
    co_return;
  }
  auto call = insist(services.env, [this]() {
    auto request = services.ports().withdrawRequest(SMALL);
    request.setTaskId(task->id());
    return request.send();
  });
  auto withdrawn = co_await attempt(kj::mv(call));
  if (!withdrawn.ok()) {
    services.host.log().warn("network.withdraw-failed",
                             {{"task", task->name()}, {"reason", withdrawn.message()}});
  }
}

}  // namespace orch::control::agent
