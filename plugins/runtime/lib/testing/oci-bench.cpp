// How long a start takes, printed: hidden, run it with `[bench]`. Nothing is asserted.
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "file-access.h"
#include "oci-subject.h"

namespace orch::runtime {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpuSeconds(int who) {
  rusage usage;
  getrusage(who, &usage);
  return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec +
         usage.ru_stime.tv_usec / 1e6;
}

size_t residentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

kj::Promise<void> createAndStart(OciSubject& subject, kj::String id) {
  auto request = subject.request(id, "");
  auto args = request.getRequest().getSpec().initArgs(2);
  args.set(0, "/bin/sleep");
  args.set(1, "1000");
  return request.send().ignoreResult().then([&subject, id = kj::mv(id)] {
    auto start = subject.runtime().startRequest();
    start.setId(id);
    return start.send().ignoreResult();
  });
}

kj::Promise<void> removeLater(OciSubject& subject, kj::StringPtr id) {
  auto request = subject.runtime().removeRequest();
  request.setId(id);
  return request.send().ignoreResult();
}

// Of the runners in containers and all that they have run; a tick is 10 ms.
double runnersCpuSeconds() {
  double seconds = 0;
  for (auto& name : entriesOf("/proc")) {
    if (atoi(name.c_str()) == 0) continue;
    std::ifstream file("/proc/" + name + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    auto end = text.find("(orch-runner) ");
    if (end == std::string::npos) continue;
    std::istringstream fields(text.substr(end + strlen("(orch-runner) ")));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    for (int i = 14; i <= 17; ++i) {
      double ticks = 0;
      fields >> ticks;
      seconds += ticks / sysconf(_SC_CLK_TCK);
    }
  }
  return seconds;
}

TEST_CASE("runtime: what a program in each container costs", "[.bench]") {
  OciSubject subject("bench-run");
  constexpr unsigned COUNT = 20, ROUNDS = 50;
  for (unsigned i = 0; i < COUNT; ++i) {
    createAndStart(subject, kj::str("n", i)).wait(subject.waitScope());
  }
  auto round = [&subject] {
    kj::Vector<kj::Promise<void>> work;
    for (unsigned i = 0; i < COUNT; ++i) {
      auto request = subject.runtime().runRequest();
      request.setId(kj::str("n", i));
      request.setTimeoutMs(30'000);
      request.setMaxOutputBytes(1000);
      request.initCommand(1).set(0, "/bin/true");
      work.add(request.send().ignoreResult());
    }
    kj::joinPromises(work.releaseAsArray()).wait(subject.waitScope());
  };
  auto all = [] {
    return cpuSeconds(RUSAGE_SELF) + cpuSeconds(RUSAGE_CHILDREN) + runnersCpuSeconds();
  };
  double begin = all();
  round();
  printf("the first: %.2f ms of a core each\n", (all() - begin) / COUNT * 1e3);
  begin = all();
  double own = cpuSeconds(RUSAGE_SELF);
  for (unsigned i = 0; i < ROUNDS; ++i) round();
  printf("each further: %.3f ms of a core, %.3f of them in this process\n",
         (all() - begin) / COUNT / ROUNDS * 1e3,
         (cpuSeconds(RUSAGE_SELF) - own) / COUNT / ROUNDS * 1e3);
}

TEST_CASE("runtime: how long starts and removals take", "[.bench]") {
  OciSubject subject("bench");
  const char* given = getenv("ORCH_BENCH_CONTAINERS");
  unsigned count = given == nullptr ? 100 : atoi(given);
  std::vector<double> single;
  for (unsigned i = 0; i < 20; ++i) {
    double begin = now();
    createAndStart(subject, kj::str("s", i)).wait(subject.waitScope());
    single.push_back(now() - begin);
    subject.remove(kj::str("s", i));
  }
  std::sort(single.begin(), single.end());
  printf("one container, request to running: median %.1f ms, best %.1f ms\n",
         single[single.size() / 2] * 1e3, single[0] * 1e3);

  double own = cpuSeconds(RUSAGE_SELF), children = cpuSeconds(RUSAGE_CHILDREN);
  size_t memory = residentBytes();
  double begin = now();
  kj::Vector<kj::Promise<void>> work;
  for (unsigned i = 0; i < count; ++i) work.add(createAndStart(subject, kj::str("n", i)));
  kj::joinPromises(work.releaseAsArray()).wait(subject.waitScope());
  double seconds = now() - begin;
  printf("%u containers: %.2f s, %.1f per second\n", count, seconds, count / seconds);
  printf("cpu seconds: %.2f of this process, %.2f of its children, without conmon's\n",
         cpuSeconds(RUSAGE_SELF) - own, cpuSeconds(RUSAGE_CHILDREN) - children);
  printf("memory per container in this process: %.1f KiB\n",
         double(residentBytes() - memory) / 1024 / count);

  begin = now();
  kj::Vector<kj::Promise<void>> removals;
  for (unsigned i = 0; i < count; ++i) removals.add(removeLater(subject, kj::str("n", i)));
  kj::joinPromises(removals.releaseAsArray()).wait(subject.waitScope());
  printf("%u removals: %.2f s\n", count, now() - begin);
}

}  // namespace
}  // namespace orch::runtime
