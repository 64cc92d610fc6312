// Those who watch one backend, and what they are told (sdk/schema/discovery.capnp, `watch`).
#pragma once

#include <capnp/message.h>
#include <kj/async.h>
#include <kj/refcount.h>

#include <string>
#include <vector>

#include "orch/schema/discovery.capnp.h"
#include "orch/task.h"

namespace orch::discovery {

// A whole answer: the parameters of `DiscoverySink.entries`, in a message of its own.
using Answer = kj::Own<capnp::MallocMessageBuilder>;
Answer answerOf(const std::vector<std::string>& sortedAddresses);

// Counted by the plugin's instance and by the capabilities that it has handed out, which may live
// longer. On the loop's thread.
class Watchers final : public kj::Refcounted {
 public:
  Watchers();

  // Until it is cancelled, the sink fails or `end` is called. The object outlives it.
  Task<void> watch(schema::DiscoverySink::Client sink);

  // What the backend has answered: sorted by address, each once. The same as before is told to
  // nobody, and nobody at all after somebody counts as a failure.
  void present(Answer answer);
  void failed(kj::StringPtr reason);
  // Fails all watches, those to come as well, with DISCONNECTED.
  void end();

 private:
  void tellAll();

  kj::Maybe<Answer> known;
  kj::String reason;  // empty: it answers
  uint64_t version = 0;
  uint64_t knownVersion = 0;
  bool ended = false;
  kj::Own<kj::PromiseFulfiller<void>> change;
  kj::ForkedPromise<void> changed;
};

// A backend that cannot be written; `writer` says who does: "edit the file '/etc/orch/hosts'".
schema::Discovery::Client newReadOnlyBackend(kj::Own<Watchers> watchers, kj::String writer);

// Throws UNIMPLEMENTED with exactly this text.
[[noreturn]] void failUnimplemented(kj::String text);

}  // namespace orch::discovery
