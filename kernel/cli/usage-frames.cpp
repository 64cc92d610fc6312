#include "usage-frames.h"

#include <unistd.h>

#include <array>
#include <cstdio>

#include "arguments.h"
#include "connection.h"
#include "human.h"
#include "output.h"
#include "terminal.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Column COLUMNS[] = {{"Name", "TASK"},         {"Node", "NODE"},
                              {"CPUPerc", "CPU %"},     {"MemUsage", "MEM USAGE / LIMIT"},
                              {"MemPerc", "MEM %"},     {"NetIO", "NET I/O"},
                              {"BlockIO", "BLOCK I/O"}, {"PIDs", "PIDS"},
                              {"ID", nullptr},          {"Container", nullptr},
                              {"Problem", nullptr}};
constexpr size_t PROBLEM = kj::size(COLUMNS) - 1;
constexpr kj::StringPtr UNKNOWN = "--"_kj;
constexpr kj::Duration LEAST_INTERVAL = 100 * kj::MILLISECONDS;
// From the upper left corner on, with nothing below.
constexpr kj::StringPtr CLEAR = "\x1b[H\x1b[J"_kj;

kj::String percent(double part, double whole) {
  char text[32];
  snprintf(text, sizeof(text), "%.2f%%", whole > 0 ? 100 * part / whole : 0);
  return kj::str(text);
}

kj::String pair(int64_t one, int64_t other) {
  if (one < 0 || other < 0) return kj::str(UNKNOWN);
  return kj::str(humanSize(one), " / ", humanSize(other));
}

kj::Duration intervalOf(const Arguments& args) {
  if (!args.given("--interval")) return 1 * kj::SECONDS;
  auto interval = parseDurationMs("--interval", args.text("--interval")) * kj::MILLISECONDS;
  if (interval < LEAST_INTERVAL) {
    fail(kj::str("usage: invalid value '", args.text("--interval"),
                 "' for --interval: expected at least 100ms"));
  }
  return interval;
}

Task<capnp::Response<UsageFrame>> ask(Context& context, kj::ArrayPtr<const kj::String> ids,
                                      bool nodes) {
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.usageRequest();
  auto list = request.initIds(ids.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, ids[i]);
  request.setNodes(nodes);
  auto sent = request.send();
  auto answer = co_await sent;
  co_return kj::mv(answer);
}

}  // namespace

int64_t UsageRates::rate(const Table& before, Table& now, const std::string& key, Seen seen) {
  now[key] = seen;
  auto found = before.find(key);
  if (found == before.end() || seen.cpuNs < 0 || found->second.cpuNs < 0) return -1;
  auto elapsedNs = seen.atNs - found->second.atNs;
  // The node has started anew: its clock and its counters have, too.
  if (elapsedNs <= 0 || seen.cpuNs < found->second.cpuNs) return -1;
  auto used = static_cast<double>(seen.cpuNs - found->second.cpuNs);
  return static_cast<int64_t>(used * 1e9 / static_cast<double>(elapsedNs));
}

void UsageRates::add(UsageFrame::Builder frame) {
  Table newTasks, newNodes;
  for (auto task : frame.getTasks()) {
    auto usage = task.getUsage().asReader();
    std::string key = usage.getId().cStr();
    task.setCpuNanos(rate(tasks, newTasks, key, {usage.getAtNs(), usage.getCpuNs()}));
  }
  for (auto node : frame.getNodes()) {
    auto host = node.getHost().asReader();
    std::string key = node.getId().cStr();
    node.setUsedCpuNanos(rate(nodes, newNodes, key, {host.getAtNs(), host.getCpuNs()}));
  }
  tasks = std::move(newTasks);
  nodes = std::move(newNodes);
}

Task<int> watchUsage(Context& context, kj::ArrayPtr<const kj::String> ids, bool nodes,
                     std::function<void(UsageFrame::Reader)> draw) {
  bool once = context.args.on("--no-stream");
  auto interval = intervalOf(context.args);
  UsageRates rates;
  for (unsigned frames = 1;; ++frames) {
    auto answer = co_await ask(context, ids, nodes);
    capnp::MallocMessageBuilder message;
    message.setRoot(static_cast<UsageFrame::Reader>(answer));
    auto frame = message.getRoot<UsageFrame>();
    rates.add(frame);
    if (!once || frames == 2) {
      if (context.out.terminal() && !once) context.out.write(CLEAR);
      draw(frame.asReader());
      context.out.flush();
    }
    if (once && frames == 2) co_return 0;
    co_await context.env.timer().afterDelay(interval);
  }
}

kj::ArrayPtr<const Column> usageColumns(bool problems) {
  static constexpr auto WITH_PROBLEM = [] {
    std::array<Column, kj::size(COLUMNS)> all{};
    for (size_t i = 0; i < all.size(); ++i) all[i] = COLUMNS[i];
    all[PROBLEM].heading = "PROBLEM";
    return all;
  }();
  if (problems) return kj::arrayPtr(WITH_PROBLEM.data(), WITH_PROBLEM.size());
  return COLUMNS;
}

kj::Array<kj::String> usageCells(schema::TaskUsage::Reader task) {
  auto usage = task.getUsage();
  bool cpu = task.getCpuNanos() >= 0, memory = usage.getMemoryBytes() >= 0;
  auto limit = usage.getMemoryLimitBytes();
  return kj::arr(kj::str(task.getTask()), kj::str(task.getNode()),
                 cpu ? percent(static_cast<double>(task.getCpuNanos()), 1e9) : kj::str(UNKNOWN),
                 kj::str(memoryText(usage.getMemoryBytes()), " / ", memoryText(limit)),
                 memory && limit > 0 ? percent(static_cast<double>(usage.getMemoryBytes()),
                                               static_cast<double>(limit))
                                     : kj::str(UNKNOWN),
                 pair(usage.getReceivedBytes(), usage.getSentBytes()),
                 pair(usage.getReadBytes(), usage.getWrittenBytes()),
                 usage.getPids() < 0 ? kj::str(UNKNOWN) : kj::str(usage.getPids()),
                 shortId(usage.getId()), kj::str(usage.getId()), kj::str(task.getMissing()));
}

bool anyMissing(UsageFrame::Reader frame) {
  for (auto task : frame.getTasks()) {
    if (task.getMissing().size() > 0) return true;
  }
  return false;
}

kj::String coresText(int64_t nanos) {
  if (nanos < 0) return kj::str(UNKNOWN);
  char text[32];
  snprintf(text, sizeof(text), "%.2f", static_cast<double>(nanos) / 1e9);
  return kj::str(text);
}

kj::String memoryText(int64_t bytes) {
  return bytes < 0 ? kj::str(UNKNOWN) : binarySize(static_cast<uint64_t>(bytes));
}

}  // namespace orch::cli
