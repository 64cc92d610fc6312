// Network namespaces that are kept alive by a bind mount, and threads inside of them. Blocking: for
// worker threads. No thread that lives longer than a call ever changes its namespace.
#pragma once

#include <kj/function.h>
#include <kj/io.h>
#include <kj/string.h>

#include <functional>

#include "lib/rtnetlink.h"

namespace orch::network {

// Called before each system call that changes something; null: not. A test ends a run there, by an
// exception, as a kill would.
using Step = std::function<void()>;

// A namespace that was just made: nothing in it but a lo that is down.
struct NewNamespace {
  kj::AutoCloseFd handle;
  kj::Own<Rtnetlink> inside;
};

// Makes a namespace, which lives as long as the handle or a pin does.
NewNamespace makeNamespace();
// Pins a namespace at `path`, a file in a folder that exists; fails if the file does. On failure
// there is none.
void pin(int handle, kj::StringPtr path, const Step& step = nullptr);
// Both.
NewNamespace makeNamespace(kj::StringPtr path);
// Whether a namespace is pinned there, not just a file or nothing.
bool isPinned(kj::StringPtr path);
// Takes the pin and the file away; nothing there is success. The kernel ends the namespace with
// all that is in it when nothing else holds it either, soon after the answer.
void dropPin(kj::StringPtr path, const Step& step = nullptr);
// Runs `work` on a short-lived thread inside the namespace pinned at `path` and waits for it.
void inNamespace(kj::StringPtr path, kj::FunctionParam<void()> work);
void inNamespace(int handle, kj::FunctionParam<void()> work);

}  // namespace orch::network
