#include "session/beat-receiver.h"

#include <kj/debug.h>
#include <kj/io.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <unordered_map>

#include "lib/beat.h"
#include "lib/socket-address.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {
constexpr size_t READ_AT_ONCE = 64;
// How long what comes is collected: a thread that wakes for each costs more than what it reads.
constexpr int COLLECT_MS = 10;
constexpr int BUFFER_BYTES = 4 << 20;  // as much of it as the system allows
}  // namespace

struct BeatReceiver::Shared {
  struct Session {
    std::string nodeId;
    BeatKey key{};
    uint64_t sequence = 0;  // of the last
    kj::TimePoint at = kj::origin<kj::TimePoint>();
    uint32_t loopLagMs = 0;
  };
  kj::AutoCloseFd socket;
  kj::AutoCloseFd ended;  // readable once the thread is to end
  mutable std::mutex mutex;
  std::unordered_map<uint64_t, Session> sessions;  // guarded by mutex
  uint64_t ignored = 0;                            // guarded by mutex

  // On the thread.
  void run();
  bool readAll(BeatCodec& codec);
  void take(BeatCodec& codec, const uint8_t* bytes, size_t size, kj::TimePoint now);
};

void BeatReceiver::Shared::take(BeatCodec& codec, const uint8_t* bytes, size_t size,
                                kj::TimePoint now) {
  auto beat = BeatCodec::read(bytes, size);
  if (beat.has_value()) {
    auto it = sessions.find(beat->session);
    bool counts = it != sessions.end() && beat->sequence > it->second.sequence &&
                  codec.isGenuine(it->second.key, bytes);
    if (counts) {
      it->second.sequence = beat->sequence;
      it->second.at = now;
      it->second.loopLagMs = beat->loopLagMs;
      return;
    }
  }
  ++ignored;
}

// Whether there may be more.
bool BeatReceiver::Shared::readAll(BeatCodec& codec) {
  // One byte more than a beat has: what is longer is none.
  std::array<std::array<uint8_t, BEAT_BYTES + 1>, READ_AT_ONCE> bytes;
  std::array<iovec, READ_AT_ONCE> parts;
  std::array<mmsghdr, READ_AT_ONCE> messages{};
  for (size_t i = 0; i < READ_AT_ONCE; ++i) {
    parts[i] = {bytes[i].data(), bytes[i].size()};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  int count = recvmmsg(socket, messages.data(), READ_AT_ONCE, MSG_DONTWAIT, nullptr);
  if (count <= 0) return false;
  auto now = kj::systemPreciseMonotonicClock().now();
  std::lock_guard<std::mutex> lock(mutex);
  for (int i = 0; i < count; ++i) take(codec, bytes[i].data(), messages[i].msg_len, now);
  return count == READ_AT_ONCE;
}

void BeatReceiver::Shared::run() {
  BeatCodec codec;
  struct pollfd waiting[] = {{ended, POLLIN, 0}, {socket, POLLIN, 0}};
  for (;;) {
    if (poll(waiting, 2, -1) < 0) continue;
    if (waiting[0].revents != 0) return;
    while (readAll(codec)) {
    }
    (void)poll(waiting, 1, COLLECT_MS);
  }
}

void BeatReceiver::listen(const std::string& address) {
  if (shared != nullptr) return;
  auto at = SocketAddress::parse(address);
  KJ_REQUIRE(at.has_value(), "no address to listen at", address.c_str());
  auto next = std::make_shared<Shared>();
  int descriptor;
  KJ_SYSCALL(descriptor = socket(at->family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  next->socket = kj::AutoCloseFd(descriptor);
  (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &BUFFER_BYTES, sizeof(BUFFER_BYTES));
  if (bind(descriptor, at->get(), at->size()) != 0) {
    int error = errno;
    fail(kj::str("cannot receive datagrams at '", address.c_str(), "': ", strerror(error)));
  }
  KJ_SYSCALL(descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  next->ended = kj::AutoCloseFd(descriptor);
  shared = next;
  own = address;
  auto receive = [next]() { next->run(); };
  env.workers().run(kj::mv(receive)).detach([](kj::Exception&&) {});
}

void BeatReceiver::stop() {
  if (shared == nullptr) return;
  (void)eventfd_write(shared->ended, 1);
  shared = nullptr;
}

uint64_t BeatReceiver::admit(const std::string& nodeId, uint32_t periodMs,
                             schema::BeatTerms::Builder terms) {
  if (shared == nullptr) return 0;
  uint64_t number = env.random() | 1;  // 0 is none
  Shared::Session session;
  session.nodeId = nodeId;
  for (size_t i = 0; i < session.key.size(); i += sizeof(uint64_t)) {
    uint64_t part = env.random();
    memcpy(session.key.data() + i, &part, sizeof(part));
  }
  terms.setAddress(own.c_str());
  terms.setSession(number);
  terms.setKey(kj::arrayPtr(session.key.data(), session.key.size()));
  terms.setPeriodMs(periodMs);
  std::lock_guard<std::mutex> lock(shared->mutex);
  shared->sessions[number] = kj::mv(session);
  return number;
}

void BeatReceiver::forget(uint64_t session) {
  if (shared == nullptr) return;
  std::lock_guard<std::mutex> lock(shared->mutex);
  shared->sessions.erase(session);
}

kj::Maybe<BeatReceiver::Heard> BeatReceiver::lastOf(uint64_t session) const {
  if (shared == nullptr) return nullptr;
  std::lock_guard<std::mutex> lock(shared->mutex);
  auto it = shared->sessions.find(session);
  if (it == shared->sessions.end() || it->second.sequence == 0) return nullptr;
  return Heard{it->second.at, it->second.loopLagMs};
}

std::vector<std::string> BeatReceiver::unwell(kj::TimePoint since, uint32_t loopLagMs) const {
  std::vector<std::string> found;
  if (shared == nullptr) return found;
  std::lock_guard<std::mutex> lock(shared->mutex);
  for (auto& [number, session] : shared->sessions) {
    if (session.sequence == 0) continue;
    if (session.at < since || session.loopLagMs >= loopLagMs) found.push_back(session.nodeId);
  }
  return found;
}

uint64_t BeatReceiver::ignored() const {
  if (shared == nullptr) return 0;
  std::lock_guard<std::mutex> lock(shared->mutex);
  return shared->ignored;
}

}  // namespace orch::control::manager
