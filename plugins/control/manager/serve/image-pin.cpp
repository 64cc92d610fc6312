#include "serve/image-pin.h"

#include "orch/attempt.h"
#include "orch/schema/image.capnp.h"

namespace orch::control::manager {

namespace {
// How long a plugin that is between two lives is waited for.
constexpr kj::Duration START_PATIENCE = 5 * kj::SECONDS;

Task<kj::String> digestOf(Env& env, schema::ImageStore::Client images, kj::String reference) {
  auto late = env.timer().afterDelay(START_PATIENCE).then([] {
    fail(kj::str("the image plugin of the manager's node does not run"));
  });
  co_await images.whenResolved().exclusiveJoin(kj::mv(late));
  auto request = images.resolveRequest();
  request.setReference(reference);
  auto answer = co_await request.send();
  co_return kj::str(answer.getDigest());
}
}  // namespace

Task<PinnedSpec> pinImage(Env& env, Host& host, Config::Reader settings,
                          schema::ServiceSpec::Reader spec, kj::String known) {
  PinnedSpec pinned;
  pinned.message = kj::heap<capnp::MallocMessageBuilder>();
  pinned.message->setRoot(spec);
  auto container = pinned.message->getRoot<schema::ServiceSpec>().getTask().getContainer();
  auto image = kj::str(container.getImage());
  container.setImageDigest("");
  if (settings.getImage().size() == 0 || image.findFirst('@') != nullptr) co_return kj::mv(pinned);
  auto asking =
      digestOf(env, host.service<schema::ImageStore>(settings.getImage()), kj::str(image));
  auto outcome = co_await attempt(kj::mv(asking));
  if (outcome.ok()) {
    container.setImageDigest(outcome.value());
    co_return kj::mv(pinned);
  }
  container.setImageDigest(known);
  auto rest = known.size() > 0 ? kj::str("it stays what it was, ", known)
                               : kj::str("each task runs what its node has under that name");
  pinned.warnings.push_back(
      kj::str("cannot tell what image '", image, "' is now (", outcome.message(), "); ", rest)
          .cStr());
  co_return kj::mv(pinned);
}

}  // namespace orch::control::manager
