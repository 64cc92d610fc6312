#include "orch/testing/virtual-env.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <random>
#include <utility>
#include <vector>

namespace orch::testing {

namespace {

// 2026-01-01T00:00:00Z: any fixed date will do.
constexpr int64_t FIRST_DAY_NS = 1767225600ll * 1000000000ll;
constexpr int64_t MILLION = 1'000'000;
constexpr kj::TimePoint BIRTH = kj::origin<kj::TimePoint>();

constexpr int64_t NEVER_NS = INT64_MAX;

int64_t nsOf(kj::TimePoint time) { return (time - BIRTH) / kj::NANOSECONDS; }
kj::TimePoint timeOf(int64_t ns) { return BIRTH + ns * kj::NANOSECONDS; }

// Time that only moves when it is told to; of the world, or of one life on a machine. In
// nanoseconds of the world since its birth: this is asked for each time that time passes.
class LocalTime {
 public:
  virtual ~LocalTime() noexcept(false) {}
  // NEVER_NS: there is none, or the machine stands still.
  virtual int64_t nextEventNs() = 0;
  virtual void advanceTo(int64_t worldNs) = 0;
};

class VirtualPort final : public kj::EventPort {
 public:
  VirtualPort() : timer(BIRTH) {}
  bool wait() override {
    KJ_IF_MAYBE (look, quiet) (*look)();
    int64_t nextNs = NEVER_NS;
    KJ_IF_MAYBE (time, timer.nextEvent()) nextNs = nsOf(*time);
    for (auto* local : locals) nextNs = std::min(nextNs, local->nextEventNs());
    KJ_ASSERT(nextNs != NEVER_NS, "deadlock in virtual time: everybody waits and no timer is set");
    moveTo(std::max(nextNs, nsOf(timer.now())));
    return false;
  }
  bool poll() override { return false; }
  void moveTo(int64_t worldNs) {
    timer.advanceTo(timeOf(worldNs));
    for (auto* local : locals) local->advanceTo(worldNs);
  }

  kj::TimerImpl timer;
  std::vector<LocalTime*> locals;  // in the order of their birth
  kj::Maybe<kj::Function<void()>> quiet;
};

// A wall clock on a timer.
class VirtualClock final : public kj::Clock {
 public:
  VirtualClock(kj::Timer& timer, const int64_t& aheadNs) : timer(timer), aheadNs(aheadNs) {}
  kj::Date now() const override {
    return kj::UNIX_EPOCH + (FIRST_DAY_NS + aheadNs) * kj::NANOSECONDS + (timer.now() - BIRTH);
  }

 private:
  kj::Timer& timer;
  const int64_t& aheadNs;
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

struct MachineFacts {
  int64_t aheadNs = 0;
  int64_t fastPpm = 0;
  bool frozen = false;
  uint64_t cpuNanos = 4'000'000'000;
  uint64_t memoryBytes = 8ull << 30;
};
const MachineFacts PLAIN;

class VirtualEnv final : public Env {
 public:
  VirtualEnv(kj::Timer& time, const MachineFacts& facts, uint64_t seed,
             kj::Maybe<kj::Own<kj::Network>> network = nullptr)
      : time(time),
        facts(facts),
        calendar(time, facts.aheadNs),
        filesystem(calendar),
        generator(seed),
        ownNetwork(kj::mv(network)) {}

  const kj::Clock& clock() override { return calendar; }
  kj::Timer& timer() override { return time; }
  kj::Filesystem& files() override { return filesystem; }
  kj::Network& network() override {
    KJ_IF_MAYBE (there, ownNetwork) return **there;
    KJ_UNIMPLEMENTED("this Env has no network");
  }
  kj::LowLevelAsyncIoProvider& lowLevelIo() override {
    KJ_UNIMPLEMENTED("there are no descriptors in virtual time");
  }
  kj::UnixEventPort& eventPort() override {
    KJ_UNIMPLEMENTED("there are no descriptors in virtual time");
  }
  Workers& workers() override { return inlineWorkers; }
  Processes& processes() override { return noProcesses; }
  uint64_t random() override { return generator(); }
  Hardware hardware() override { return {facts.cpuNanos, facts.memoryBytes, kj::str("x86_64")}; }

 private:
  kj::Timer& time;
  const MachineFacts& facts;
  VirtualClock calendar;
  MemoryFilesystem filesystem;
  InlineWorkers inlineWorkers;
  NoProcesses noProcesses;
  std::mt19937_64 generator;
  kj::Maybe<kj::Own<kj::Network>> ownNetwork;
};

// One life of a machine.
class Life final : public LocalTime {
 public:
  Life(const MachineFacts& facts, int64_t worldNs, uint64_t seed,
       kj::Maybe<kj::Own<kj::Network>> network)
      : facts(facts), timer(timeOf(toLocal(worldNs))), env(timer, facts, seed, kj::mv(network)) {}

  int64_t nextEventNs() override {
    if (over || facts.frozen) return NEVER_NS;
    KJ_IF_MAYBE (time, timer.nextEvent()) {
      auto localNs = nsOf(*time);
      bool known = localNs == next.localNs && facts.fastPpm == next.fastPpm;
      if (!known) next = {localNs, facts.fastPpm, toWorld(localNs)};
      return next.worldNs;
    }
    return NEVER_NS;
  }
  void advanceTo(int64_t worldNs) override {
    if (over || facts.frozen) return;
    timer.advanceTo(kj::max(timeOf(toLocal(worldNs)), timer.now()));
  }

  const MachineFacts& facts;
  bool over = false;
  kj::TimerImpl timer;
  VirtualEnv env;

 private:
  int64_t toLocal(int64_t worldNs) const { return worldNs + worldNs / MILLION * facts.fastPpm; }
  // The first instant at which it is that late here.
  int64_t toWorld(int64_t localNs) const {
    auto guess = localNs / (MILLION + facts.fastPpm) * MILLION;
    while (toLocal(guess) < localNs) guess += localNs - toLocal(guess);
    return guess;
  }
  struct {
    int64_t localNs = -1, fastPpm = 0, worldNs = 0;
  } next;  // as it was asked for last
};

class Machine final : public VirtualMachine {
 public:
  Machine(VirtualPort& port, uint64_t seed) : port(port), seed(seed) {}

  void setClock(int64_t aheadNs, int32_t fastPpm) override {
    facts.aheadNs = aheadNs;
    facts.fastPpm = fastPpm;
  }
  void setHardware(uint64_t cpuNanos, uint64_t memoryBytes) override {
    facts.cpuNanos = cpuNanos;
    facts.memoryBytes = memoryBytes;
  }
  void freeze() override { facts.frozen = true; }
  void thaw() override {
    facts.frozen = false;
    for (auto& life : lives) life.advanceTo(nsOf(port.timer.now()));
    for (auto& waiter : std::exchange(waiting, {})) waiter->fulfill();
  }
  bool frozen() const override { return facts.frozen; }
  kj::Promise<void> whenAwake() override {
    if (!facts.frozen) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiting.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }
  Env& begin(uint64_t salt, kj::Maybe<kj::Own<kj::Network>> network) override {
    lives.emplace_back(facts, nsOf(port.timer.now()), seed ^ (salt * 0x9e3779b97f4a7c15ull),
                       kj::mv(network));
    port.locals.push_back(&lives.back());
    return lives.back().env;
  }
  void end(Env& env) override {
    auto& life = lifeOf(env);
    life.over = true;
    std::erase(port.locals, static_cast<LocalTime*>(&life));
  }
  bool over(Env& env) const override { return const_cast<Machine*>(this)->lifeOf(env).over; }

 private:
  Life& lifeOf(Env& env) {
    for (auto& life : lives) {
      if (&life.env == &env) return life;
    }
    KJ_FAIL_REQUIRE("this is no life of the machine");
  }

  VirtualPort& port;
  uint64_t seed;
  MachineFacts facts;
  std::list<Life> lives;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
};

}  // namespace

struct VirtualWorld::Impl {
  explicit Impl(uint64_t seed)
      : loop(port), scope(loop), first(port.timer, PLAIN, seed), seed(seed) {}
  VirtualPort port;
  std::list<Machine> machines;  // before the loop, whose last events still refer to their timers
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
  return kj::heap<VirtualEnv>(impl->port.timer, PLAIN, impl->seed * 0x9e3779b97f4a7c15ull + salt);
}

VirtualMachine& VirtualWorld::newMachine() {
  return impl->machines.emplace_back(impl->port, impl->first.random());
}

void VirtualWorld::onQuiet(kj::Function<void()> look) { impl->port.quiet = kj::mv(look); }

void VirtualWorld::advance(kj::Duration duration) {
  impl->port.timer.afterDelay(duration).wait(impl->scope);
  settle();
}

void VirtualWorld::standStill(kj::Duration duration) {
  impl->port.moveTo(nsOf(impl->port.timer.now() + duration));
}

void VirtualWorld::settle() { impl->scope.poll(); }

uint64_t testSeed() {
  const char* text = getenv("ORCH_SEED");
  uint64_t seed = text == nullptr ? 1 : strtoull(text, nullptr, 10);
  fprintf(stderr, "ORCH_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace orch::testing
