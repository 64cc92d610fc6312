// Network namespaces that are kept alive by a bind mount, and threads inside of them. Blocking: for
// worker threads. No thread that lives longer than a call ever changes its namespace.
#pragma once

#include <kj/function.h>
#include <kj/io.h>
#include <kj/string.h>

#include "lib/rtnetlink.h"

namespace orch::network {

// A namespace that was just made: nothing in it but a lo that is down.
struct NewNamespace {
  kj::AutoCloseFd handle;
  kj::Own<Rtnetlink> inside;
};

// Makes a namespace and pins it at `path`, a file in a folder that exists; fails if the file does.
// On failure nothing is left.
NewNamespace makeNamespace(kj::StringPtr path);
// Whether a namespace is pinned there, not just a file or nothing.
bool isPinned(kj::StringPtr path);
// Takes the pin and the file away; nothing there is success. The kernel ends the namespace with
// all that is in it when nothing else holds it either, soon after the answer.
void dropPin(kj::StringPtr path);
// Runs `work` on a short-lived thread inside the namespace pinned at `path` and waits for it.
void inNamespace(kj::StringPtr path, kj::FunctionParam<void()> work);

}  // namespace orch::network
