#include "journal/replays.h"

#include <capnp/serialize.h>

#include "journal/journal-reader.h"
#include "journal/replay.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/validate.h"

namespace orch::control::manager {

namespace {
constexpr kj::StringPtr NO_JOURNAL =
    "usage: it is no journal of a manager, or damaged from its beginning on; a journal is a file "
    "of "
    "DATA/control.manager/journal"_kj;

bool beginsJournal(kj::ArrayPtr<const capnp::word> words) {
  auto is = attemptNow([&] {
    capnp::FlatArrayMessageReader message(words);
    return message.getRoot<JournalEntry>().isBegins();
  });
  return is.ok() && is.value();
}

Task<void> takeMessage(Replay& again, kj::ArrayPtr<const capnp::word> words) {
  capnp::FlatArrayMessageReader message(words);
  co_await again.take(message.getRoot<JournalEntry>());
}
}  // namespace

Task<void> Replays::takeOwn(Replay& again) {
  if (parts.settings.getJournalBytes() == 0) {
    fail(kj::str("this manager keeps no journal: journalBytes of control.manager is 0"));
  }
  co_await parts.journal.flush();
  JournalReader reader(parts.env, parts.journal.folder());
  for (;;) {
    auto messages = co_await reader.next();
    if (messages.empty()) break;
    for (auto& words : messages) co_await takeMessage(again, words);
  }
}

// A stranger's: what is damaged is not passed over.
Task<void> Replays::takeFile(Replay& again, capnp::Data::Reader file) {
  size_t at = 0;
  for (auto frame = segments::nextFrame(file, at); frame; frame = segments::nextFrame(file, at)) {
    if (frame->begin != at) break;
    std::vector<segments::MessageWords> messages;
    segments::eachMessage(frame->content, [&](auto words) { messages.push_back(kj::mv(words)); });
    if (at == 0 && (messages.empty() || !beginsJournal(messages.front()))) break;
    for (auto& words : messages) {
      auto taken = co_await attempt(takeMessage(again, words));
      if (!taken.ok()) fail(kj::str("usage: the journal is damaged: ", taken.message()));
    }
    at = frame->end;
    co_await parts.env.timer().afterDelay(0 * kj::NANOSECONDS);
  }
  if (at == 0) fail(kj::str(NO_JOURNAL));
  if (!again.isComplete()) {
    fail(kj::str("usage: the journal is damaged: it ends within the state that it begins with"));
  }
  if (at < file.size()) {
    fail(kj::str("usage: the journal is damaged from byte ", at, " on; 'head -c ", at,
                 "' of it can be replayed"));
  }
}

Task<void> Replays::replay(ReplayContext context) {
  context.allowCancellation();
  auto params = context.getParams();
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
  Replay again(parts.env, parts.host, parts.settings.getScheduler(), strategy, params.getSinceNs());
  auto journal = params.getJournal();
  if (journal.size() > 0) {
    co_await takeFile(again, journal);
  } else {
    co_await takeOwn(again);
  }
  again.describe(context.getResults().initAnswer());
}

}  // namespace orch::control::manager
