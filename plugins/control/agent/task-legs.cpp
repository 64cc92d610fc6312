// What a task has of networks that span hosts: a leg in each, and names there.
#include "task-controller.h"

namespace orch::control::agent {

Task<void> TaskController::replug() {
  if (task->task().asReader().getLegs().size() == 0) co_return;
  auto attached = co_await attachNetwork();
  KJ_IF_MAYBE (there, attached) co_await plugLegs(there->getEndpoint());
}

// Into each network that spans hosts. Asked twice, the plugins answer as the first time.
Task<void> TaskController::plugLegs(schema::Endpoint::Reader endpoint) {
  uint32_t count = task->task().asReader().getLegs().size();
  if (count == 0) co_return;
  auto path = kj::str(endpoint.getNamespacePath());
  for (auto service : {LEGS, NAMES}) {
    co_await services.mustRun(service);
    co_await services.cleared(service);
    co_await services.networks.known(service);
  }
  for (uint32_t i = 0; i < count; ++i) {
    auto plug = insist(services.env, [this, i, &path]() {
      auto leg = task->task().asReader().getLegs()[i];
      auto request = services.legs().plugRequest(SMALL);
      auto target = request.initLeg();
      target.setTaskId(task->id());
      target.setNamespacePath(path);
      target.setNetwork(leg.getNetwork());
      target.setAddress(leg.getAddress());
      target.setAddress6(leg.getAddress6());
      target.setDevice(kj::str("eth", i + 1));
      target.setClosed(isClosed(task->task().asReader()));
      target.setPublished(publishes());
      return request.send();
    });
    co_await kj::mv(plug);
  }
  co_await serveNames(path);
}

Task<void> TaskController::serveNames(kj::StringPtr path) {
  auto serve = insist(services.env, [this, &path]() {
    auto reader = task->task().asReader();
    auto request = services.names().serveRequest(SMALL);
    request.setTaskId(task->id());
    request.setNamespacePath(path);
    auto all = reader.getLegs();
    auto networks = request.initNetworks(all.size());
    for (uint32_t i = 0; i < networks.size(); ++i) networks.set(i, all[i].getNetwork());
    request.setServers(reader.getSpec().getContainer().getDns());
    request.setClosed(isClosed(reader));
    return request.send();
  });
  co_await kj::mv(serve);
}

Task<void> TaskController::unplugLegs() {
  legs = nullptr;
  mending.cancel("the task is about to end");
  uint32_t count = task->task().asReader().getLegs().size();
  if (count == 0) co_return;
  auto release = insist(services.env, [this]() {
    auto request = services.names().releaseRequest(SMALL);
    request.setTaskId(task->id());
    return request.send();
  });
  auto released = co_await attempt(kj::mv(release));
  if (!released.ok()) noteUnplugged(released.message());
  for (uint32_t i = 0; i < count; ++i) {
    auto unplug = insist(services.env, [this, i]() {
      auto request = services.legs().unplugRequest(SMALL);
      request.setTaskId(task->id());
      request.setNetwork(task->task().asReader().getLegs()[i].getNetwork());
      return request.send();
    });
    auto unplugged = co_await attempt(kj::mv(unplug));
    if (!unplugged.ok()) noteUnplugged(unplugged.message());
  }
}

void TaskController::noteUnplugged(kj::StringPtr reason) {
  services.host.log().warn("network.unplug-failed", {{"task", task->name()}, {"reason", reason}});
}

}  // namespace orch::control::agent
