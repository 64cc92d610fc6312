// The lines of several logs as one stream in the order of their times. Nothing is kept: who brings
// lines is answered when they have been passed on, so each log is at most one call ahead.
#pragma once

#include <kj/async.h>
#include <kj/refcount.h>

#include <map>
#include <set>
#include <vector>

#include "orch/env.h"
#include "orch/schema/runtime.capnp.h"
#include "orch/task.h"

namespace orch::control::manager {

// Shared by whoever reads the stream and by the sinks that it has given out. Its reader outlives
// neither, and ends it with `close`.
class LogMerge final : public kj::Refcounted {
 public:
  // How long a line waits for earlier ones of a log that says nothing: a log that is followed may
  // have none. The first time longer: what was written before is still on its way.
  static constexpr kj::Duration PATIENCE = 300 * kj::MILLISECONDS;
  static constexpr kj::Duration FIRST_PATIENCE = 1 * kj::SECONDS;
  // Of logs that end by themselves.
  static constexpr kj::Duration END_PATIENCE = 10 * kj::SECONDS;

  LogMerge(Env& env, schema::LogSink::Client sink, bool follow)
      : env(env), sink(kj::mv(sink)), follow(follow) {}

  // One more log; its lines go into `sinkOf`, one call at a time, until `end`. `late`: nothing was
  // written before.
  uint64_t begin(bool late);
  schema::LogSink::Client sinkOf(uint64_t log);
  void end(uint64_t log);
  // Passes lines on until all logs have ended and `finish` was called. Fails if the reader does.
  Task<void> run();
  void finish();
  // Lines that come later fail.
  void close();

 private:
  class Sink;
  using LinesContext =
      capnp::CallContext<schema::LogSink::LinesParams, schema::LogSink::LinesResults>;
  struct Log {
    kj::Maybe<LinesContext> call;                       // with lines that were not passed on
    uint32_t next = 0;                                  // of them
    int64_t timeNs = 0;                                 // of the next one; never lower than before
    kj::TimePoint since = kj::origin<kj::TimePoint>();  // when it came
    kj::Own<kj::PromiseFulfiller<void>> passedOn;
    kj::TimePoint quietUntil = kj::origin<kj::TimePoint>();  // so long others wait for it
  };
  using Logs = std::map<uint64_t, Log>;
  struct Part {
    uint64_t log;
    uint32_t line;
  };

  kj::Promise<void> take(uint64_t log, LinesContext context);
  void place(uint64_t id, Log& log);
  // The log whose turn it is; the end if that is not known yet, and then when to look again.
  Logs::iterator nextOne(kj::TimePoint now, kj::TimePoint& look);
  kj::Promise<void> send(const std::vector<Part>& parts);
  void wake();

  Env& env;
  schema::LogSink::Client sink;
  const bool follow;
  bool finishing = false;
  bool closed = false;
  uint64_t lastId = 0;
  Logs logs;
  std::set<std::pair<int64_t, uint64_t>> heads;  // of logs with lines
  kj::Own<kj::PromiseFulfiller<void>> changed;   // wakes run()
};

}  // namespace orch::control::manager
