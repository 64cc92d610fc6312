#include "beat-thread.h"

#include <kj/debug.h>
#include <kj/io.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <random>

#include "lib/beat.h"
#include "lib/socket-address.h"

namespace orch::control::agent {

namespace {
constexpr int64_t NS_PER_MS = 1'000'000;
// How often the loop says that it turns.
constexpr int64_t STAMP_MS = 500;

int64_t monotonicNs() {
  return (kj::systemPreciseMonotonicClock().now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS;
}
}  // namespace

struct BeatThread::Shared {
  SocketAddress address;
  uint64_t session = 0;
  BeatKey key{};
  uint32_t periodMs = 0;
  uint64_t seed = 0;
  std::atomic<int64_t> turnedAtNs = monotonicNs();  // the loop
  kj::AutoCloseFd ended;                            // readable once this is to end

  // On the thread.
  void run();
  uint32_t lagMs() const {
    return static_cast<uint32_t>(
        std::max<int64_t>(0, (monotonicNs() - turnedAtNs) / NS_PER_MS - STAMP_MS));
  }
};

// What cannot be sent is not sent again: the next one says the same.
void BeatThread::Shared::run() {
  int descriptor = socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return;
  kj::AutoCloseFd out(descriptor);
  BeatCodec codec;
  std::minstd_rand random(static_cast<uint32_t>(seed));
  for (uint64_t sequence = 1;; ++sequence) {
    auto bytes = codec.seal(key, {session, sequence, lagMs()});
    (void)sendto(out, bytes.data(), bytes.size(), MSG_NOSIGNAL, address.get(), address.size());
    // A tenth to either side, so that those of many nodes do not come together.
    int pauseMs = static_cast<int>(periodMs * 9 / 10 + random() % (periodMs / 5 + 1));
    struct pollfd waiting = {ended, POLLIN, 0};
    int ready = poll(&waiting, 1, pauseMs);
    if (ready > 0) return;
  }
}

BeatThread::BeatThread(Env& env) : env(env) {}
BeatThread::~BeatThread() noexcept(false) { stop(); }

void BeatThread::start(schema::BeatTerms::Reader terms) {
  stop();
  auto address = SocketAddress::parse(terms.getAddress().cStr());
  bool usable = address.has_value() && terms.getKey().size() == std::tuple_size_v<BeatKey> &&
                terms.getPeriodMs() > 0;
  if (!usable) return;
  int descriptor;
  KJ_SYSCALL(descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  shared = std::make_shared<Shared>();
  shared->address = *address;
  shared->session = terms.getSession();
  std::copy(terms.getKey().begin(), terms.getKey().end(), shared->key.begin());
  shared->periodMs = terms.getPeriodMs();
  shared->seed = env.random();
  shared->ended = kj::AutoCloseFd(descriptor);
  stamps = stamp(shared).promise().eagerlyEvaluate(nullptr);
  auto beat = [with = shared]() { with->run(); };
  env.workers().run(kj::mv(beat)).detach([](kj::Exception&&) {});
}

void BeatThread::stop() {
  stamps = nullptr;
  if (shared == nullptr) return;
  (void)eventfd_write(shared->ended, 1);
  shared = nullptr;
}

Task<void> BeatThread::stamp(std::shared_ptr<Shared> with) {
  for (;;) {
    with->turnedAtNs = monotonicNs();
    co_await env.timer().afterDelay(STAMP_MS * kj::MILLISECONDS);
  }
}

}  // namespace orch::control::agent
