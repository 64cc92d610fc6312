// What the OCI runtime is told of a program that somebody runs in a container that runs. Pure.
#pragma once

#include <string>

#include "orch/schema/runtime.capnp.h"
#include "users.h"

namespace orch::runtime {

// Files of the container by which its users are known.
struct UserFiles {
  kj::String passwd;
  kj::String group;
};

// process.json of a runner for this one program: as the container's own process, whose bundle's
// configuration this is, but for what `program` says. Fails with one line that names the input.
std::string oneProgramProcess(const std::string& config, schema::Program::Reader program,
                              const UserFiles& files);

}  // namespace orch::runtime
