#include "memory-trimmer.h"

#include <catch2/catch.hpp>
#include <kj/timer.h>

#include <fstream>
#include <sstream>
#include <string>

namespace orch {
namespace {

// Of programs and libraries that are mapped into this process, as far as they are in memory and
// cannot be written to, in KiB.
uint64_t residentProgramKib() {
  std::ifstream maps("/proc/self/smaps");
  uint64_t sum = 0;
  bool counts = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string first, second;
    words >> first >> second;
    if (first.find('-') != std::string::npos) {
      counts = second == "r-xp" && line.find('/') != std::string::npos;
    } else if (counts && first == "Rss:") {
      sum += std::stoull(second);
    }
  }
  return sum;
}

TEST_CASE("memory: the pages of programs that only the start needed are given back", "[memory]") {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  MemoryTrimmer trimmer(timer);
  auto before = residentProgramKib();
  timer.advanceTo(kj::origin<kj::TimePoint>() + 3 * kj::SECONDS);
  scope.poll();
  CHECK(residentProgramKib() < before);
}

}  // namespace
}  // namespace orch
