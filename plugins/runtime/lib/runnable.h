// What can be said of a container's program without running it.
#pragma once

#include <kj/common.h>
#include <kj/string.h>

#include "container-tree.h"

namespace orch::runtime {

// Why the first of the arguments cannot be executed, as far as the container's files tell: it is
// not there, a folder, or not executable. Null if nothing speaks against it. Blocks.
kj::Maybe<kj::String> whyNotRunnable(const ContainerTree& tree, const CheckedRequest& checked);

// Gives HOME a value if the environment has none: with an empty one, or without, crun and runc look
// for it by themselves, each in its own way.
void setHome(std::vector<std::string>& environment, const std::string& home);

}  // namespace orch::runtime
