// What a plugin of the kind `network` answers and tells, as lines of text.
#pragma once

#include <kj/function.h>

#include <string>
#include <vector>

#include "orch/schema/network.capnp.h"

namespace orch::testing {
class TestHost;
}

namespace orch::network {

// What is not as it should be: "bridge orch0: present, found nothing", with " repaired" at the end
// if it was.
std::vector<std::string> linesOf(capnp::List<schema::NetworkFinding>::Reader findings);

// Of the events that were told, in their order.
std::vector<std::string> topicsOf(const testing::TestHost& host);

// The text of the error that `run` fails with, as a user sees it; empty if it does not.
std::string errorOf(kj::FunctionParam<void()> run);

}  // namespace orch::network
