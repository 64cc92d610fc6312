#include "misbehaves.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "orch/fail.h"

namespace orch::test::misbehaves {

namespace {

// Faults as plugins have them, as they are written.
#if defined(__clang__)
#define AS_WRITTEN __attribute__((noinline, optnone, no_sanitize("address", "undefined")))
#else
#define AS_WRITTEN __attribute__((noinline, optimize("O0")))
#endif

AS_WRITTEN int endless(int depth) { return depth < 0 ? depth : endless(depth + 1) + 1; }

AS_WRITTEN void fault(kj::StringPtr wish) {
  if (wish == "segv") *reinterpret_cast<volatile int*>(8) = 1;
  if (wish == "call nowhere") reinterpret_cast<void (*)()>(16)();
  if (wish == "overflow") endless(0);
  if (wish == "ill") __builtin_trap();
  if (wish == "bus") raise(SIGBUS);
  if (wish == "fpe") raise(SIGFPE);
  if (wish == "abort") abort();
}

void throwAround() noexcept { fail(kj::str("thrown where nobody catches")); }

kj::Promise<void> misbehave(Env& env, kj::StringPtr wish) {
  fault(wish);
  if (wish.startsWith("worker ")) {
    return env.workers().run([wish = kj::str(wish.slice(7))] {
      if (wish == "hang") pause();
      fault(wish);
    });
  }
  if (wish == "terminate") throwAround();
  constexpr kj::StringPtr BLOCK_UNTIL = "block until "_kj;  // somebody opens that pipe to write
  if (wish.startsWith(BLOCK_UNTIL)) {
    int pipe;
    KJ_SYSCALL(pipe = open(wish.slice(BLOCK_UNTIL.size()).cStr(), O_RDONLY | O_CLOEXEC));
    close(pipe);
  }
  if (wish == "crash") raise(SIGKILL);
  if (wish == "throw") fail(kj::str("as you wish"));
  if (wish == "hang") return kj::NEVER_DONE;
  if (wish == "block") {
    for (;;) pause();
  }
  return kj::READY_NOW;
}

class Table final : public schema::PlacementTable::Server {
 public:
  explicit Table(Env& env) : env(env) {}
  kj::Promise<void> place(PlaceContext context) override {
    return misbehave(env, context.getParams().getGroup().getServiceId());
  }

 private:
  Env& env;
};

class Misbehaviour final : public schema::Scheduler::Server {
 public:
  Misbehaviour(Env& env, Host& host) : env(env), host(host) {}
  kj::Promise<void> open(OpenContext context) override {
    auto nodes = context.getParams().getNodes();
    auto wish = nodes.size() == 0 ? kj::StringPtr("") : kj::StringPtr(nodes[0].getId());
    context.getResults().setTable(kj::heap<Table>(env));
    if (wish == "complain") host.log().error("test.failed", {{"reason", "as you wish"}});
    return misbehave(env, wish);
  }

 private:
  Env& env;
  Host& host;
};

}  // namespace

schema::Scheduler::Client newMisbehaviour(Env& env, Host& host) {
  return kj::heap<Misbehaviour>(env, host);
}

}  // namespace orch::test::misbehaves
