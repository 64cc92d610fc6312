#include "misbehaves.h"

#include <unistd.h>

#include <csignal>

#include "orch/fail.h"

namespace orch::test::misbehaves {

namespace {

class Misbehaviour final : public schema::Scheduler::Server {
 public:
  kj::Promise<void> open(OpenContext context) override {
    auto nodes = context.getParams().getNodes();
    auto wish = nodes.size() == 0 ? kj::StringPtr("") : kj::StringPtr(nodes[0].getId());
    if (wish == "crash") raise(SIGKILL);
    if (wish == "throw") fail(kj::str("as you wish"));
    if (wish == "hang") return kj::NEVER_DONE;
    if (wish == "block") {
      for (;;) pause();
    }
    return kj::READY_NOW;
  }
};

}  // namespace

schema::Scheduler::Client newMisbehaviour(Env&) { return kj::heap<Misbehaviour>(); }

}  // namespace orch::test::misbehaves
