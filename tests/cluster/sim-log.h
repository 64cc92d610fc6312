// What happened in a simulated cluster, line by line: the same seed gives the same bytes.
#pragma once

#include <kj/string.h>
#include <kj/timer.h>

#include <string>
#include <vector>

namespace orch::testing {

class SimLog final {
 public:
  explicit SimLog(kj::Timer& timer) : timer(timer) {}
  KJ_DISALLOW_COPY(SimLog);

  // `12.345678 n2 what`; line breaks in `what` become spaces.
  void add(kj::StringPtr host, kj::StringPtr what);
  const std::string& text() const { return all; }
  // The last lines.
  std::string tail(size_t lines) const;

 private:
  kj::Timer& timer;
  std::string all;
};

}  // namespace orch::testing
