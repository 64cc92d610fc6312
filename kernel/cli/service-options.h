// The flags of `service create` and `service update`: docker's names, and a few of orch's own.
#pragma once

#include "command.h"

namespace orch::cli {

kj::ArrayPtr<const Option> serviceCreateOptions();
kj::ArrayPtr<const Option> serviceUpdateOptions();

}  // namespace orch::cli
