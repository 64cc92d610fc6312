// conmon, the one process that stays with a container: it runs `<runtime> create`, holds the
// container's output and writes its exit status to a file.
#pragma once

#include "layout.h"
#include "options.h"
#include "orch/env.h"
#include "orch/task.h"

namespace orch::runtime {

// Starts conmon on a prepared bundle and waits until the container is created: its init waits for
// `<runtime> start`. The pid of that init. Fails with the runtime's own words, made one line. If
// cancelled, conmon may be left running: see BundleMaker::endProcesses.
Task<int> createWithConmon(Env& env, const Layout& layout, const Options& options, kj::String id,
                           bool tty);

// The reason in what crun (`2026-…Z: no such thing`) or runc (`time="…" level=error msg="…"`) has
// logged last, on one line.
kj::String runtimesWords(kj::StringPtr log);

// What conmon wrote to its sync pipe: the pid, or the runtime's error. Public for its test.
int pidFromSync(kj::StringPtr line, kj::StringPtr runtimeName);

// Makes conmon go on in a fresh file at its log's path, replacing whatever is there: move that away
// first. A request that conmon has not read yet is not repeated. False if conmon is gone.
bool reopenLog(const std::string& bundle);

}  // namespace orch::runtime
