// What a tag means when a service is made or changed, so that all its tasks run the same image.
#pragma once

#include <capnp/message.h>

#include <string>
#include <vector>

#include "config.capnp.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/objects.capnp.h"
#include "serve/cluster-server.h"
#include "session/sessions.h"

namespace orch::control::manager {

// A copy of a spec whose image is pinned, as far as somebody could tell what it is.
class PinnedSpec final {
 public:
  schema::ServiceSpec::Reader spec() { return message->getRoot<schema::ServiceSpec>().asReader(); }
  std::vector<std::string> warnings;

 private:
  friend Task<PinnedSpec> pinImage(Env&, Host&, Config::Reader, const Sessions&,
                                   schema::ServiceSpec::Reader, schema::RegistryLogin::Reader,
                                   kj::String);
  kj::Own<capnp::MallocMessageBuilder> message;
};

// What the name was imported as, on whichever node; else what the image plugin of this node says.
// `known` is the digest to stay with if nobody can tell. Fails if nodes have imported different
// images by that name, and never for want of an answer; `spec` and `login` outlive the call.
Task<PinnedSpec> pinImage(Env& env, Host& host, Config::Reader settings, const Sessions& sessions,
                          schema::ServiceSpec::Reader spec, schema::RegistryLogin::Reader login,
                          kj::String known);
// The same for a service that there is, or with an empty name a new one: it stays with what it has,
// and its own login serves if none is given.
Task<PinnedSpec> pinFor(ClusterParts& parts, kj::StringPtr service,
                        schema::ServiceSpec::Reader spec, schema::RegistryLogin::Reader login);

}  // namespace orch::control::manager
