// Answers without an end: events of the node, and logs of tasks and services. As server-sent
// events, or as lines.
#pragma once

#include "orch/schema/plugin.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "readings.h"
#include "server.h"

namespace orch::api::http {

// What a client asks for. Fails with a text that begins with `usage: ` if it cannot be read.
struct EventsAsked {
  int64_t sinceNs = 0;         // 0: from now on
  uint64_t afterSequence = 0;  // of a client that comes again, with what it saw last
  std::vector<std::string> topics;

  static EventsAsked of(const Request& request, int64_t nowNs);
};
struct LogsAsked {
  bool follow = false;
  int64_t tail = -1;
  int64_t sinceNs = 0;
  bool asEvents = false;  // else as lines of JSON

  static LogsAsked of(const Request& request, int64_t nowNs);
};

// `id: 1720000000000000000-17`, `data: {…}` and an empty line.
std::string textOf(schema::Event::Reader event);

// Until the client goes. Says something now and then, so that one that has gone is noticed.
Task<void> sendEvents(Env& env, Readings& readings, Exchange& exchange, EventsAsked asked);
// Until the log ends, or the client goes.
Task<void> sendLogs(Env& env, Readings& readings, Exchange& exchange, std::string id,
                    LogsAsked asked);

}  // namespace orch::api::http
