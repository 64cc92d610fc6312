// The image of a task, and the login that its registry may want.
#include "task-controller.h"

namespace orch::control::agent {

using schema::TaskState;

void TaskController::equip(schema::RegistryLogin::Reader given) {
  if (given.getUser().size() > 0 && task->state() < TaskState::READY) {
    auto message = kj::heap<capnp::MallocMessageBuilder>(given.totalSize().wordCount + 1);
    message->setRoot(given);
    login = kj::mv(message);
  }
  equipped.raise();
}

// Nothing if the runtime has no use for one, or if the task was stopped while a transfer was going
// on.
Task<kj::Maybe<TaskController::Ensured>> TaskController::ensureImage() {
  auto info =
      co_await insist(services.env, [this]() { return runtime().infoRequest(SMALL).send(); });
  if (!info.getUsesImages()) co_return nullptr;
  co_await services.mustRun(services.settings.getImage());
  co_await services.cleared(services.settings.getImage());
  KJ_DEFER(login = nullptr);
  bool without = login == nullptr;
  auto outcome = co_await attempt(askForImage());
  if (outcome.ok()) co_return kj::mv(outcome.value());
  // The login that an earlier life of the agent had comes again, with the word of a manager.
  if (without) co_await orStopped(equipped.promise.addBranch());
  if (stopping()) co_return nullptr;
  if (!without || login == nullptr) kj::throwFatalException(kj::mv(outcome.error()));
  co_return co_await askForImage();
}

Task<kj::Maybe<TaskController::Ensured>> TaskController::askForImage() {
  auto ensure = insist(services.env, [this]() {
    auto request = services.images().ensureRequest(SMALL);
    auto container = task->task().asReader().getSpec().getContainer();
    auto pin = container.getImageDigest();
    request.setReference(kj::str(container.getImage(), pin.size() > 0 ? "@" : "", pin));
    request.setHolder(task->id());
    request.setElsewhere(services.otherNodes);
    KJ_IF_MAYBE (message, login) request.setLogin((*message)->getRoot<schema::RegistryLogin>());
    return request.send();
  });
  auto found = kj::mv(ensure).promise().then(
      [](Ensured&& image) { return kj::Maybe<Ensured>(kj::mv(image)); });
  auto stopped = stopAsked.promise.addBranch().then([]() { return kj::Maybe<Ensured>(); });
  co_return co_await found.exclusiveJoin(kj::mv(stopped));
}

}  // namespace orch::control::agent
