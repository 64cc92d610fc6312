// What tasks and nodes use, asked for again and again.
#pragma once

#include <capnp/message.h>

#include <functional>
#include <map>
#include <string>

#include "command.h"
#include "listing.h"
#include "orch/schema/cluster.capnp.h"

namespace orch::cli {

#define ORCH_USAGE_OPTIONS                            \
  {"--no-stream", nullptr, "Print it once, and end"}, \
      {"--interval", "DURATION", "Time between two looks, at least 100ms (default 1s)"},

using UsageFrame = schema::ClusterControl::UsageResults;

// Adds to an answer what only two of them say: what was used of late.
class UsageRates final {
 public:
  // `frame` is the newest answer. What is new in it has no rates yet.
  void add(UsageFrame::Builder frame);

 private:
  struct Seen {
    int64_t atNs = 0;
    int64_t cpuNs = -1;
  };
  using Table = std::map<std::string, Seen>;
  static int64_t rate(const Table& before, Table& now, const std::string& key, Seen seen);
  Table tasks;
  Table nodes;
};

// Asks until it is interrupted, or twice with --no-stream, and has each answer drawn: then only the
// last.
Task<int> watchUsage(Context& context, kj::ArrayPtr<const kj::String> ids, bool nodes,
                     std::function<void(UsageFrame::Reader)> draw);

// Columns of tasks, with what is wrong with one if `problems`.
kj::ArrayPtr<const Column> usageColumns(bool problems);
kj::Array<kj::String> usageCells(schema::TaskUsage::Reader task);
bool anyMissing(UsageFrame::Reader frame);
// `1.25` cores; `--` if it is not known.
kj::String coresText(int64_t nanos);
kj::String memoryText(int64_t bytes);

}  // namespace orch::cli
