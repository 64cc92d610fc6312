#include "serve/image-pin.h"

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/image-reference.h"
#include "orch/schema/image.capnp.h"
#include "serve/resolve.h"

namespace orch::control::manager {

namespace {
// How long a plugin that is between two lives is waited for.
constexpr kj::Duration START_PATIENCE = 5 * kj::SECONDS;

Task<kj::String> digestOf(Env& env, schema::ImageStore::Client images, kj::String reference,
                          schema::RegistryLogin::Reader login) {
  auto late = env.timer().afterDelay(START_PATIENCE).then([] {
    fail(kj::str("the image plugin of the manager's node does not run"));
  });
  co_await images.whenResolved().exclusiveJoin(kj::mv(late));
  auto request = images.resolveRequest();
  request.setReference(reference);
  request.setLogin(login);
  auto answer = co_await request.send();
  co_return kj::str(answer.getDigest());
}

// What this node has under a name that it imported; empty if it has not.
Task<std::string> importedHere(schema::ImageStore::Client images, std::string name) {
  auto request = images.inspectRequest();
  request.setReference(name.c_str());
  auto answer = co_await attempt(request.send());
  if (!answer.ok()) co_return std::string();
  auto image = answer.value().getImage();
  bool imported = false;  // and not only an image whose id begins so
  for (auto other : image.getReferences()) imported = imported || other == name.c_str();
  for (auto other : image.getPulled()) imported = imported && other != name.c_str();
  co_return imported ? std::string(image.getDigest().cStr()) : std::string();
}

using Imports = std::map<std::string, std::set<std::string>>;  // digest, nodes

// This node is asked itself: what the manager was told of it may be older.
Task<Imports> importsOf(Host& host, Config::Reader settings, const Sessions& sessions,
                        std::string name) {
  auto imports = sessions.imported(name.c_str());
  std::string own = host.node().id.cStr();
  for (auto& entry : imports) entry.second.erase(own);
  std::erase_if(imports, [](auto& entry) { return entry.second.empty(); });
  if (imports.empty()) co_return kj::mv(imports);
  auto images = host.service<schema::ImageStore>(settings.getImage());
  auto here = co_await importedHere(images, name);
  if (!here.empty()) imports[here].insert(own);
  co_return kj::mv(imports);
}

[[noreturn]] void refuseDifferent(const Sessions& sessions, kj::StringPtr image,
                                  const Imports& imports) {
  kj::Vector<kj::String> parts;
  for (auto& [digest, nodes] : imports) {
    parts.add(kj::str(digest.c_str(), " on ", sessions.hostnameOf(*nodes.begin())));
  }
  fail(kj::str("image '", image,
               "' is not the same everywhere it was imported: ", kj::strArray(parts, ", "),
               "; name one as NAME@DIGEST, or remove the others with "
               "'orch image rm'"));
}
}  // namespace

Task<PinnedSpec> pinImage(Env& env, Host& host, Config::Reader settings, const Sessions& sessions,
                          schema::ServiceSpec::Reader spec, schema::RegistryLogin::Reader login,
                          kj::String known) {
  PinnedSpec pinned;
  pinned.message = kj::heap<capnp::MallocMessageBuilder>();
  pinned.message->setRoot(spec);
  auto container = pinned.message->getRoot<schema::ServiceSpec>().getTask().getContainer();
  auto image = kj::str(container.getImage());
  container.setImageDigest("");
  if (settings.getImage().size() == 0 || image.findFirst('@') != nullptr) co_return kj::mv(pinned);
  std::string name = parseImageReference(image).familiar();
  auto imports = co_await importsOf(host, settings, sessions, name);
  if (imports.size() > 1) refuseDifferent(sessions, image, imports);
  if (imports.size() == 1) {
    container.setImageDigest(imports.begin()->first.c_str());
    co_return kj::mv(pinned);
  }
  auto asking =
      digestOf(env, host.service<schema::ImageStore>(settings.getImage()), kj::str(image), login);
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

namespace {
// The digest that the service has for the image of `spec`.
kj::String pinOf(schema::Service::Reader service, schema::ServiceSpec::Reader spec) {
  auto had = service.getSpec().getTask().getContainer();
  bool same = had.getImage() == spec.getTask().getContainer().getImage();
  return same ? kj::str(had.getImageDigest()) : kj::String();
}
}  // namespace

Task<PinnedSpec> pinFor(ClusterParts& parts, kj::StringPtr service,
                        schema::ServiceSpec::Reader spec, schema::RegistryLogin::Reader login) {
  kj::String known;
  capnp::MallocMessageBuilder kept;
  if (service.size() > 0) {
    auto& state = parts.manager.state();
    View now(state, parts.env.nowNs(), Seed{});
    auto object = state.find(Kind::SERVICE, resolveService(now, service))->as<schema::Service>();
    known = pinOf(object, spec);
    if (login.getUser().size() == 0) {
      auto own = kept.initRoot<schema::RegistryLogin>();
      parts.logins.open(object.getSealedLogin(), own);
      login = own.asReader();
    }
  }
  auto pinning =
      pinImage(parts.env, parts.host, parts.settings, parts.sessions, spec, login, kj::mv(known));
  co_return co_await kj::mv(pinning);
}

}  // namespace orch::control::manager
