// Lines of containers' logs as `docker service logs` prints them.
#pragma once

#include <map>
#include <string>

#include "orch/schema/runtime.capnp.h"
#include "output.h"
#include "task-table.h"

namespace orch::cli {

struct LogStyle {
  bool raw = false;  // no prefix
  bool timestamps = false;
  bool taskIds = true;
  bool wholeIds = false;
};

// `web.1.0123456789ab@node-1`, without the id if the style says so.
kj::String logPrefix(schema::LogLine::Reader line, const LogStyle& style, const NodeNames& nodes);

// Puts pieces of a line together again and prints whole lines: stdout of the container to stdout,
// stderr to stderr. A line past 1 MiB is printed in parts.
class LogPrinter final : public schema::LogSink::Server {
 public:
  LogPrinter(Output& out, LogStyle style, NodeNames nodes);
  kj::Promise<void> lines(LinesContext context) override;
  // Prints what was begun and has not ended.
  void finish();

 private:
  void print(schema::LogLine::Reader line, kj::ArrayPtr<const char> text);

  Output& out;
  LogStyle style;
  NodeNames nodes;
  size_t prefixWidth = 0;
  struct Begun {
    std::string text;
    kj::Own<capnp::MessageBuilder> line;
  };
  std::map<std::string, Begun> begun;  // by task and stream
};

}  // namespace orch::cli
