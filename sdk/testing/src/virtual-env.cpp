#include "orch/testing/virtual-env.h"

#include <kj/debug.h>

#include <cstdio>
#include <cstdlib>
#include <random>

namespace orch::testing {

namespace {

// 2026-01-01T00:00:00Z: any fixed date will do.
constexpr int64_t FIRST_DAY_NS = 1767225600ll * 1000000000ll;

class VirtualPort final : public kj::EventPort {
 public:
  VirtualPort() : timer(kj::origin<kj::TimePoint>()) {}
  bool wait() override {
    KJ_IF_MAYBE (next, timer.nextEvent()) {
      timer.advanceTo(kj::max(*next, timer.now()));
    } else {
      KJ_FAIL_ASSERT("deadlock in virtual time: everybody waits and no timer is set");
    }
    return false;
  }
  bool poll() override { return false; }

  kj::TimerImpl timer;
};

class VirtualClock final : public kj::Clock {
 public:
  explicit VirtualClock(kj::TimerImpl& timer) : timer(timer) {}
  kj::Date now() const override {
    return kj::UNIX_EPOCH + FIRST_DAY_NS * kj::NANOSECONDS +
           (timer.now() - kj::origin<kj::TimePoint>());
  }

 private:
  kj::TimerImpl& timer;
};

// Work is done at once, on the only thread there is, one turn of the loop later.
class InlineWorkers final : public Workers {
 public:
  kj::Promise<void> runErased(kj::Function<void()> work) override {
    return kj::evalLater([work = kj::mv(work)]() mutable { work(); });
  }
};

class NoProcesses final : public Processes {
 public:
  kj::Promise<kj::Own<Process>> spawn(ProcessSpec spec) override {
    return KJ_EXCEPTION(UNIMPLEMENTED, "there are no processes in virtual time", spec.argv[0]);
  }
  kj::Promise<void> whenGone(int) override {
    return KJ_EXCEPTION(UNIMPLEMENTED, "there are no processes in virtual time");
  }
};

class MemoryFilesystem final : public kj::Filesystem {
 public:
  explicit MemoryFilesystem(const kj::Clock& clock)
      : root(kj::newInMemoryDirectory(clock)), workingPath(kj::Path("work")) {}
  const kj::Directory& getRoot() const override { return *root; }
  const kj::Directory& getCurrent() const override { return *root; }
  kj::PathPtr getCurrentPath() const override { return workingPath; }

 private:
  kj::Own<const kj::Directory> root;
  kj::Path workingPath;
};

class VirtualEnv final : public Env {
 public:
  VirtualEnv(VirtualPort& port, uint64_t seed)
      : port(port), calendar(port.timer), filesystem(calendar), generator(seed) {}

  const kj::Clock& clock() override { return calendar; }
  kj::Timer& timer() override { return port.timer; }
  kj::Filesystem& files() override { return filesystem; }
  kj::Network& network() override { KJ_UNIMPLEMENTED("there is no network in virtual time"); }
  kj::LowLevelAsyncIoProvider& lowLevelIo() override {
    KJ_UNIMPLEMENTED("there are no descriptors in virtual time");
  }
  kj::UnixEventPort& eventPort() override {
    KJ_UNIMPLEMENTED("there are no descriptors in virtual time");
  }
  Workers& workers() override { return inlineWorkers; }
  Processes& processes() override { return noProcesses; }
  uint64_t random() override { return generator(); }

 private:
  VirtualPort& port;
  VirtualClock calendar;
  MemoryFilesystem filesystem;
  InlineWorkers inlineWorkers;
  NoProcesses noProcesses;
  std::mt19937_64 generator;
};

}  // namespace

struct VirtualWorld::Impl {
  explicit Impl(uint64_t seed) : loop(port), scope(loop), first(port, seed), seed(seed) {}
  VirtualPort port;
  kj::EventLoop loop;
  kj::WaitScope scope;
  VirtualEnv first;
  uint64_t seed;
};

VirtualWorld::VirtualWorld(uint64_t seed) : impl(kj::heap<Impl>(seed)) {}
VirtualWorld::~VirtualWorld() noexcept(false) {}
Env& VirtualWorld::env() { return impl->first; }
kj::WaitScope& VirtualWorld::waitScope() { return impl->scope; }
uint64_t VirtualWorld::seed() const { return impl->seed; }

kj::Own<Env> VirtualWorld::newEnv(uint64_t salt) {
  return kj::heap<VirtualEnv>(impl->port, impl->seed * 0x9e3779b97f4a7c15ull + salt);
}

void VirtualWorld::advance(kj::Duration duration) {
  impl->port.timer.afterDelay(duration).wait(impl->scope);
  settle();
}

void VirtualWorld::standStill(kj::Duration duration) {
  impl->port.timer.advanceTo(impl->port.timer.now() + duration);
}

void VirtualWorld::settle() { impl->scope.poll(); }

uint64_t testSeed() {
  const char* text = getenv("ORCH_SEED");
  uint64_t seed = text == nullptr ? 1 : strtoull(text, nullptr, 10);
  fprintf(stderr, "ORCH_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace orch::testing
