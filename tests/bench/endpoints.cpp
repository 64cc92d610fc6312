// How fast a change of one of many endpoints is in the kernel: usage: orch-bench-endpoints
// [ENDPOINTS [SERVICES [CHANGES]]]. The overlay's own book and sandbox, in a network namespace that
// stands for a host, told of so many tasks of another host, spread over so many services with a
// virtual address. Then one task after the other stops serving, and serves again; or goes, and
// another comes in its place: the time is that from telling the book until the kernel has it.
// Prints milliseconds, and what the process grew by. Needs root.
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "book.h"
#include "lib/netns.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "sandbox.h"

namespace orch::network::overlay {
namespace {

constexpr Ipv4 SUBNET = 10u << 24;
constexpr Ipv4 FIRST_TASK = SUBNET + (1u << 16);
constexpr Ipv4 FIRST_SERVICE = SUBNET + 2;
constexpr Ipv4 OWN = (192u << 24) + (168u << 16) + 1;
constexpr Ipv4 OTHER = OWN + 1;

double seconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

double residentMib() {
  unsigned long all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// As long as a real one, which is 25 characters.
std::string idOf(const char* kind, uint32_t number) {
  auto id = std::to_string(number);
  return kind + std::string(25 - std::min<size_t>(id.size() + strlen(kind), 25), '0') + id;
}

class Bench final {
 public:
  Bench(const std::string& folder, uint32_t endpoints, uint32_t services)
      : layout{folder, "self", OWN, 4789, std::nullopt, bestBalancer()},
        endpoints(endpoints),
        services(services) {}

  void fill() {
    book.tell({{SUBNET, 8}, SUBNET + 1, 4097, 1450});
    for (uint32_t i = 0; i < services; ++i) book.tellService(idOf("s", i), {FIRST_SERVICE + i, {}});
    for (uint32_t i = 0; i < endpoints; ++i) book.tellPeer(idOf("t", i), peer(i, true));
    sandbox = kj::heap<Sandbox>(layout, "bench");
    settle();
  }
  // Milliseconds until one task serves, or does not serve.
  double turn(uint32_t number, bool serving) {
    auto begin = seconds();
    book.tellPeer(idOf("t", number), peer(number, serving));
    settle();
    return (seconds() - begin) * 1e3;
  }
  // Milliseconds until one has gone and another is there in its place.
  double replace(uint32_t number, uint32_t round) {
    auto old = idOf("t", number + (round - 1) * endpoints);
    auto fresh = peer(number, true);
    fresh.address = FIRST_TASK + (endpoints + round);
    auto begin = seconds();
    book.forgetPeer(old);
    book.tellPeer(idOf("t", number + round * endpoints), fresh);
    settle();
    return (seconds() - begin) * 1e3;
  }
  kj::StringPtr balancer() const { return nameOf(layout.balancer); }

 private:
  Peer peer(uint32_t number, bool serving) const {
    Peer peer;
    peer.serviceId = idOf("s", number % services);
    peer.address = FIRST_TASK + number;
    peer.host = OTHER;
    peer.serving = serving;
    return peer;
  }
  void settle() {
    auto change = book.take(OWN);
    auto applied = sandbox->apply(change);
    if (!applied.flowsKept.empty()) fail(kj::str(applied.flowsKept.c_str()));
    book.confirm(change);
  }

  Layout layout;
  uint32_t endpoints;
  uint32_t services;
  NetworkBook book;
  kj::Own<Sandbox> sandbox;
};

void print(const char* name, std::vector<double> taken) {
  std::sort(taken.begin(), taken.end());
  printf("%s %.3f %.3f\n", name, taken[taken.size() / 2], taken[taken.size() * 99 / 100]);
}

void measure(const std::string& folder, uint32_t endpoints, uint32_t services, uint32_t changes) {
  auto before = residentMib();
  Bench bench(folder, endpoints, services);
  auto begin = seconds();
  bench.fill();
  printf("balancer %s\nfill_ms %.1f\n", bench.balancer().cStr(), (seconds() - begin) * 1e3);
  printf("grown_mib %.2f\n", residentMib() - before);
  std::vector<double> stops, starts, replaced;
  for (uint32_t i = 0; i < changes; ++i) {
    auto number = (i * 7919) % endpoints;
    stops.push_back(bench.turn(number, false));
    starts.push_back(bench.turn(number, true));
  }
  for (uint32_t i = 1; i <= changes; ++i) replaced.push_back(bench.replace(endpoints / 2, i));
  print("stop_ms", stops);
  print("start_ms", starts);
  print("replace_ms", replaced);
  printf("most_mib %.2f\n", residentMib() - before);
}

int run(uint32_t endpoints, uint32_t services, uint32_t changes) {
  char folder[] = "/tmp/orch-bench-endpoints.XXXXXX";
  KJ_ASSERT(mkdtemp(folder) != nullptr);
  for (auto name : {"/netns", "/legs"})
    KJ_SYSCALL(mkdir((std::string(folder) + name).c_str(), 0700));
  auto host = makeNamespace();
  auto outcome = attemptNow([&] {
    inNamespace(host.handle.get(), [&] { measure(folder, endpoints, services, changes); });
  });
  auto pin = std::string(folder) + "/netns/bench";
  dropPin(pin.c_str());
  for (auto name : {"/netns", "/legs", ""}) rmdir((std::string(folder) + name).c_str());
  if (outcome.ok()) return 0;
  fprintf(stderr, "orch-bench-endpoints: %s\n", outcome.message().cStr());
  return 1;
}

}  // namespace
}  // namespace orch::network::overlay

int main(int argc, char** argv) {
  auto number = [&](int at, uint32_t otherwise) {
    return argc > at ? static_cast<uint32_t>(strtoul(argv[at], nullptr, 10)) : otherwise;
  };
  return orch::network::overlay::run(number(1, 10'000), number(2, 1), number(3, 200));
}
