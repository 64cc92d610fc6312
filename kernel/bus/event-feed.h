// What `orch events` gets: first what the log holds, then what comes.
#pragma once

#include "kernel/bus/bus.h"

namespace orch::bus {

struct FeedRequest {
  int64_t sinceNs = 0;  // 0: nothing of the log
  bool follow = false;
  std::vector<std::string> topics;
};

// Each event once, in order; the next piece goes when the sink has taken the last one. What happens
// while the log is read is read from the log as well; only the last of it is held back meanwhile,
// in the subscription's bounded queue. Ends when the log has been sent, or, if `follow`, never; or
// with the sink's error. Dropping it ends it at once. `log` and `bus` outlive it.
Task<void> feedEvents(EventLog& log, Bus& bus, FeedRequest request, schema::EventSink::Client sink);

}  // namespace orch::bus
