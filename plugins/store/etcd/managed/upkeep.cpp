#include "managed/upkeep.h"

#include <sys/statvfs.h>

#include <charconv>
#include <utility>

#include "etcd/request.h"
#include "orch/attempt.h"

namespace orch::store::etcd {

namespace {

// A smaller one is not worth it.
constexpr uint64_t WASTEFUL_BYTES = 64 << 20;
// Of the quota, that is in use when there is no use in making it smaller.
constexpr uint64_t USED_PERCENT = 80;
// What etcd needs to write a snapshot and its log in the meantime.
constexpr uint64_t LEAST_FREE_BYTES = 256 << 20;
constexpr auto MEASURE_EACH = 30 * kj::SECONDS;
// etcd's own advice is 10 ms for 99 of 100; commits are five of these and more.
constexpr double SLOW_SYNC_SECONDS = 0.1;
constexpr double LEAST_SYNCS = 10;
constexpr auto PATIENCE = 2 * kj::MINUTES;
constexpr uint64_t LOCK_SECONDS = 120;
const std::string DEFRAGMENTS = "orch-managed/defragments";
const std::string ALARM = "/v3/maintenance/alarm";

double numberAfter(std::string_view text, std::string_view name) {
  auto at = text.find("\n" + std::string(name) + " ");
  if (at == std::string_view::npos) return 0;
  auto from = text.data() + at + name.size() + 2;
  double number = 0;
  std::from_chars(from, text.data() + text.size(), number);
  return number;
}

struct DiskSpace {
  uint64_t free = UINT64_MAX;
};
DiskSpace spaceAt(const std::string& folder) {
  struct statvfs found = {};
  if (statvfs(folder.c_str(), &found) != 0) return {};
  return {uint64_t{found.f_bavail} * found.f_frsize};
}

}  // namespace

std::string Findings::text(const ManagedSettings& settings) const {
  if (corrupt) {
    return "the data of this host's etcd are not those of the others: 'orch node demote', then "
           "'orch node promote' it, so that it begins anew";
  }
  if (full) {
    return "this host's etcd takes no more writes, since its database has reached quotaBytes, " +
           std::to_string(settings.quotaBytes) + ": raise it on all managers";
  }
  if (!othersFull.empty()) {
    return "this etcd takes no more writes, since the database of another host's member has "
           "reached "
           "quotaBytes; if that one does not see to it within a minute, this one does";
  }
  if (diskLow) {
    return "less than " + std::to_string(LEAST_FREE_BYTES >> 20) +
           " MiB are free for the etcd in '" + settings.folder + "'";
  }
  if (diskSlow) {
    return "the disk of '" + settings.folder +
           "' is slow: a write takes longer than 100 ms, which all that is changed waits for";
  }
  return {};
}

bool isWasteful(const orch::etcd::Status& status) {
  return status.databaseBytes > WASTEFUL_BYTES && status.usedBytes * 2 < status.databaseBytes;
}

bool canShrink(const Findings& findings, bool needed) {
  return findings.wasteful && !findings.full && findings.othersFull.empty() && !needed;
}

SyncTimes SyncTimes::read(std::string_view metrics) {
  return {numberAfter(metrics, "etcd_disk_wal_fsync_duration_seconds_sum"),
          numberAfter(metrics, "etcd_disk_wal_fsync_duration_seconds_count")};
}

Upkeep::Upkeep(Env& env, Log& log, const ManagedSettings& settings)
    : env(env),
      log(log),
      settings(settings),
      client(env, {settings.endpoint()}, settings.tls(), PATIENCE),
      metrics(env, settings.endpoint(), settings.tls()),
      measuredAt(env.timer().now()) {}

void Upkeep::tell(std::string trouble) {
  if (trouble == told) return;
  if (!trouble.empty()) {
    log.warn("store.member-trouble", {{"reason", trouble.c_str()}});
  } else {
    log.info("all is well again with this host's etcd");
  }
  told = std::move(trouble);
}

Task<bool> Upkeep::isSlow() {
  auto now = env.timer().now();
  if (now - measuredAt < MEASURE_EACH) co_return slow;
  measuredAt = now;
  std::string path = "/metrics", none;
  auto asking = metrics.ask(kj::HttpMethod::GET, path, none).promise();
  auto asked = co_await attempt(env.timer().timeoutAfter(settings.timeout, kj::mv(asking)));
  if (!asked.ok()) {
    metrics.forget();
    co_return slow;
  }
  auto read = SyncTimes::read(asked.value().text);
  auto last = std::exchange(before, read);
  auto count = read.count - last.count;
  slow = count >= LEAST_SYNCS && (read.seconds - last.seconds) / count > SLOW_SYNC_SECONDS;
  co_return slow;
}

Task<Findings> Upkeep::find(const orch::etcd::Status& status) {
  auto self = status.member;
  Findings found;
  found.wasteful = isWasteful(status);
  auto text = co_await client.demand(ALARM, orch::etcd::alarmsRequest());
  for (auto& alarm : orch::etcd::readAlarms(text)) {
    bool others = alarm.member != self;
    if (others && alarm.kind == "NOSPACE") found.othersFull.push_back(alarm.member);
    if (others) continue;
    found.full |= alarm.kind == "NOSPACE";
    found.corrupt |= alarm.kind == "CORRUPT";
  }
  auto looking = env.workers().run([folder = settings.folder] { return spaceAt(folder); });
  auto space = co_await looking;
  found.diskLow = space.free < LEAST_FREE_BYTES;
  found.diskSlow = co_await isSlow();
  co_return found;
}

Task<void> Upkeep::look(orch::etcd::Status status, std::string self, bool needed) {
  auto found = co_await find(status);
  tell(found.text(settings));
  auto now = env.timer().now();
  bool stood = othersAlarm.hasStood(now, !found.othersFull.empty());
  if (!found.full && !stood) {
    tries = SpaceTries();
    if (canShrink(found, needed)) co_await defragment(self);
  } else if (tries.isDue(now)) {
    std::vector<uint64_t> full;
    if (stood) full = found.othersFull;
    if (found.full) full.push_back(status.member);
    auto made = co_await attempt(makeSpace(status, kj::mv(full)));
    bool done = made.ok() && made.value();
    if (!done) tries.wasInVain(env.timer().now());
  }
}

bool Upkeep::isRoomy(const orch::etcd::Status& status) const {
  return status.databaseBytes * 100 < settings.quotaBytes * USED_PERCENT;
}

// Nothing is written meanwhile, so there is nothing to wait for, and no lock to be had.
Task<bool> Upkeep::makeSpace(orch::etcd::Status status, std::vector<uint64_t> full) {
  auto compacting = client.ask("/v3/kv/compaction", orch::etcd::compactRequest(status.revision));
  co_await kj::mv(compacting);  // refused: it is done
  if (!isRoomy(status)) {
    co_await client.demand("/v3/maintenance/defragment", "{}");
    auto text = co_await client.demand("/v3/maintenance/status", "{}");
    status = orch::etcd::readStatus(text);
    if (!isRoomy(status)) co_return false;
  }
  for (auto member : full) co_await client.demand(ALARM, orch::etcd::spaceRequest(member));
  log.info("the etcd takes writes again", {{"bytes", kj::str(status.databaseBytes)}});
  co_return true;
}

Task<bool> Upkeep::defragment(std::string self) {
  auto lease = co_await client.grant(LOCK_SECONDS);
  orch::etcd::TxnRequest txn;
  txn.ifChangedAtLeast(DEFRAGMENTS, 1).elsePut(DEFRAGMENTS, self, lease);
  auto text = co_await client.demand("/v3/kv/txn", txn.text());
  bool taken = orch::etcd::readTxn(text).succeeded;
  if (!taken) {
    auto done = co_await attempt(client.demand("/v3/maintenance/defragment", "{}"));
    if (!done.ok()) log.warn("store.defragmentation-failed", {{"reason", done.message()}});
    if (done.ok()) log.info("the database of this host's etcd was made smaller");
  }
  co_await client.revoke(lease);
  co_return !taken;
}

}  // namespace orch::store::etcd
