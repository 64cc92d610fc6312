// Who this user is to registries: what `orch login` keeps, in a file that nobody else may read.
#pragma once

#include <kj/string.h>

#include "orch/schema/image.capnp.h"

namespace orch::cli {

// $XDG_CONFIG_HOME/orch/logins, else $HOME/.config/orch/logins; empty without either.
kj::String loginsPath();

// As it stands in names of images: `docker.io` for docker's own names of it. Fails with `usage: …`.
kj::String parseRegistry(kj::StringPtr text);

// Replaces the one that there is for the registry. The file is made, 0600. Fails without a place
// for it.
void keepLogin(schema::RegistryLogin::Reader login);
// False if there is none.
bool dropLogin(kj::StringPtr registry);
// For the registry of an image. False, and `login` stays empty, if there is none, or the image has
// no proper name. Fails if others can read the file.
bool findLogin(kj::StringPtr image, schema::RegistryLogin::Builder login);

}  // namespace orch::cli
