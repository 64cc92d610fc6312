#include "history.h"

#include "etcd-store.h"
#include "orch/attempt.h"

namespace orch::store::etcd {

History::History(Env& env, Client& client, EtcdStore& store, Log& log, kj::Duration keep)
    : env(env), client(client), store(store), log(log), keep(keep) {}

void History::committed(uint64_t revision) {
  if (++sinceTrim >= TRIM_EVERY && !trimming) {
    sinceTrim = 0;
    trimming = true;
    tasks.add(trim());
  }
  bool due = keep > 0 * kj::SECONDS && !compacting;
  if (!due) return;
  compacting = true;
  tasks.add(compact(revision));
}

Task<void> History::trim() {
  auto outcome = co_await attempt(store.trim(KEPT_RECORDS));
  trimming = false;
  tell(trimFails, "store.trim-failed, retrying after more commits", outcome);
}

// When it is over, everything from before `keep` ago is gone.
Task<void> History::compact(uint64_t revision) {
  co_await env.timer().afterDelay(keep);
  auto reply = co_await client.ask("/v3/kv/compaction", compactRequest(revision));
  compacting = false;
  // Refused: somebody else has compacted further.
  bool done = reply.kind == Reply::Kind::ANSWERED ||
              reply.refusal.message.find("has been compacted") != std::string::npos;
  auto outcome = attemptNow([&] {
    if (!done) fail(kj::str(reply.reason.c_str()));
  });
  tell(compactFails, "store.compaction-failed, retrying later", outcome);
}

void History::tell(bool& fails, kj::StringPtr id, Outcome<void>& outcome) {
  bool now = !outcome.ok();
  if (now && !fails) log.warn(id, {{"reason", outcome.message()}});
  fails = now;
}

void History::taskFailed(kj::Exception&& exception) {
  log.error("store.history-stopped", {{"reason", plainText(exception)}});
}

}  // namespace orch::store::etcd
