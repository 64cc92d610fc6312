#include "journal/replays.h"

#include <capnp/serialize.h>

#include "journal/journal-reader.h"
#include "journal/replay.h"
#include "orch/fail.h"
#include "serve/validate.h"

namespace orch::control::manager {

Task<void> Replays::replay(ReplayContext context) {
  context.allowCancellation();
  auto params = context.getParams();
  if (parts.settings.getJournalBytes() == 0) {
    fail(kj::str("this manager keeps no journal: journalBytes of control.manager is 0"));
  }
  kj::String strategy;
  if (params.getScheduler().size() > 0) {
    std::vector<std::string> known;
    auto names = co_await parts.manager.scheduling().strategies();
    for (auto& name : names) known.push_back(name.cStr());
    checkStrategy("--scheduler", params.getScheduler(), known);
    strategy = kj::str("scheduler.", params.getScheduler());
  }
  if (busy) fail(kj::str("another replay is under way; try again when it is done"));
  busy = true;
  KJ_DEFER(busy = false);
  co_await parts.journal.flush();
  Replay again(parts.env, parts.host, parts.settings.getScheduler(), strategy, params.getSinceNs());
  JournalReader reader(parts.env, parts.journal.folder());
  for (;;) {
    auto messages = co_await reader.next();
    if (messages.empty()) break;
    for (auto& words : messages) {
      capnp::FlatArrayMessageReader message(words);
      co_await again.take(message.getRoot<JournalEntry>());
    }
  }
  again.describe(context.getResults().initAnswer());
}

}  // namespace orch::control::manager
