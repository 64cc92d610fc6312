// conmon, the one process that stays with a container: it runs `<runtime> create`, holds the
// container's output and writes its exit status to a file.
#pragma once

#include "layout.h"
#include "options.h"
#include "orch/env.h"
#include "orch/task.h"

namespace orch::runtime {

// What a container's own process has for its streams.
struct Stdio {
  bool terminal = false;
  bool input = false;  // a stdin that stays open, also when nobody is attached; else /dev/null
};

// Starts conmon on a prepared bundle and waits until the container is created: its init waits for
// `<runtime> start`. The pid of that init. Fails with the runtime's own words, made one line. If
// cancelled, conmon may be left running: see BundleMaker::endProcesses.
Task<int> createWithConmon(Env& env, const Layout& layout, const Options& options, kj::String id,
                           Stdio stdio);

// The reason in what crun (`2026-…Z: no such thing`) or runc (`time="…" level=error msg="…"`) has
// logged last, on one line.
kj::String runtimesWords(kj::StringPtr log);

// What conmon wrote to its sync pipe: the pid, or the runtime's error. Public for its test.
int pidFromSync(kj::StringPtr line, kj::StringPtr runtimeName);

// Makes conmon go on in a fresh file at its log's path, replacing whatever is there: move that away
// first. A request that conmon has not read yet is not repeated. False if conmon is gone.
bool reopenLog(const std::string& bundle);

// Connects to conmon as somebody who looks on. Each packet from there is a STREAM_… byte and what
// the container has written; each one to there goes to its input. Who does not read in time stops
// the container: conmon waits. Fails if conmon is gone.
inline constexpr kj::byte STREAM_STDOUT = 2;  // also all of a terminal
inline constexpr kj::byte STREAM_STDERR = 3;
inline constexpr size_t MAX_PACKET_BYTES = 8192;  // of either, without that byte
kj::AutoCloseFd connectToConmon(const std::string& bundle);

// The size of the container's terminal. False if conmon is gone, or does not read.
bool resizeTerminal(const std::string& bundle, uint16_t rows, uint16_t columns);

}  // namespace orch::runtime
