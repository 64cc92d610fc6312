// What the heartbeats of many nodes cost a manager: usage: orch-bench-beats [NODES [SECONDS]]
// The manager's own receiver and watch, on loopback, with a beat of every node each second. Prints
// the time of this process apart from the thread that sends, in percent of one core.
#include <capnp/message.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <future>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "lib/beat.h"
#include "lib/socket-address.h"
#include "session/beat-receiver.h"
#include "session/beat-watch.h"

namespace orch::control::manager {
namespace {

constexpr uint32_t PERIOD_MS = 1000;

struct Node {
  uint64_t session;
  BeatKey key;
};

double secondsOf(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

class Counts final : public BeatWatch::Observer {
 public:
  explicit Counts(BeatReceiver& receiver) : receiver(receiver) {}
  kj::Maybe<kj::TimePoint> newestBeat(const std::string& nodeId) override {
    KJ_IF_MAYBE (heard, receiver.lastOf(sessions.at(nodeId))) return heard->at;
    return nullptr;
  }
  bool beaten(const std::string&) override { return ++looks, true; }
  std::vector<std::string> unwell(kj::TimePoint since) override {
    return receiver.unwell(since, PERIOD_MS);
  }
  void suspected(const std::string&) override { ++suspicions; }
  bool missed(const std::string&, const std::string&) override { return ++gone, true; }

  BeatReceiver& receiver;
  std::map<std::string, uint64_t> sessions;
  uint64_t looks = 0;
  uint64_t suspicions = 0;
  uint64_t gone = 0;
};

struct Sender {
  std::vector<Node> nodes;
  SocketAddress to;
  std::promise<void> ended;
  uint64_t sent = 0;
  double seconds = 0;

  // Evenly over the period, in steps of a millisecond, until `ended` is set.
  void run() {
    int out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    BeatCodec codec;
    size_t next = 0;
    uint64_t round = 1;
    auto begin = secondsOf(CLOCK_MONOTONIC);
    auto end = ended.get_future();
    do {
      auto due = static_cast<uint64_t>((secondsOf(CLOCK_MONOTONIC) - begin) * 1000 *
                                       static_cast<double>(nodes.size()) / PERIOD_MS);
      for (; sent < due; ++sent) {
        auto bytes = codec.seal(nodes[next].key, {nodes[next].session, round, 0});
        (void)sendto(out, bytes.data(), bytes.size(), 0, to.get(), to.size());
        if (++next == nodes.size()) {
          next = 0;
          ++round;
        }
      }
    } while (end.wait_for(std::chrono::milliseconds(1)) == std::future_status::timeout);
    seconds = secondsOf(CLOCK_THREAD_CPUTIME_ID);
    close(out);
  }
};

int measure(uint32_t count, uint32_t seconds) {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  BeatReceiver receiver(*env);
  auto address = "127.0.0.1:" + std::to_string(20000 + env->random() % 20000);
  receiver.listen(address);
  Counts counts(receiver);
  BeatWatch watch(*env, 2500 * kj::MILLISECONDS, 15 * kj::SECONDS, counts);
  Sender sender;
  sender.to = *SocketAddress::parse(address);
  for (uint32_t i = 0; i < count; ++i) {
    capnp::MallocMessageBuilder message;
    auto terms = message.initRoot<schema::BeatTerms>();
    auto id = env->newId();
    Node node{receiver.admit(id.cStr(), PERIOD_MS, terms), {}};
    std::copy(terms.getKey().begin(), terms.getKey().end(), node.key.begin());
    sender.nodes.push_back(node);
    counts.sessions[id.cStr()] = node.session;
    watch.expect(id.cStr(), 10 * kj::SECONDS, "");  // time to make them all
  }
  std::thread thread([&sender] { sender.run(); });
  env->timer().afterDelay(10 * kj::SECONDS).wait(io.waitScope);  // each was looked at
  auto loop = secondsOf(CLOCK_THREAD_CPUTIME_ID);
  auto all = secondsOf(CLOCK_PROCESS_CPUTIME_ID);
  auto began = secondsOf(CLOCK_MONOTONIC);
  clockid_t senders;
  pthread_getcpuclockid(thread.native_handle(), &senders);
  auto others = secondsOf(senders);
  env->timer().afterDelay(seconds * kj::SECONDS).wait(io.waitScope);
  auto took = secondsOf(CLOCK_MONOTONIC) - began;
  loop = secondsOf(CLOCK_THREAD_CPUTIME_ID) - loop;
  others = secondsOf(senders) - others;
  all = secondsOf(CLOCK_PROCESS_CPUTIME_ID) - all;
  sender.ended.set_value();
  thread.join();
  printf(
      "%u nodes, %.1f s: loop %.2f %%, thread %.2f %% of a core; %lu beats sent, %lu looks, "
      "%lu suspected, %lu taken for gone\n",
      count, took, 100 * loop / took, 100 * (all - loop - others) / took, sender.sent, counts.looks,
      counts.suspicions, counts.gone);
  return counts.gone == 0 ? 0 : 1;
}

}  // namespace
}  // namespace orch::control::manager

int main(int argc, char** argv) {
  auto number = [&](int at, uint32_t otherwise) {
    return argc > at ? static_cast<uint32_t>(strtoul(argv[at], nullptr, 10)) : otherwise;
  };
  return orch::control::manager::measure(number(1, 10'000), number(2, 20));
}
