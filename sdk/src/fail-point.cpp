#include "fail-point.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace orch {

FailPoint::FailPoint() {
  const char* text = getenv("ORCH_KILL_AT");
  if (text == nullptr) return;
  std::string entry = text;
  auto comma = entry.find(',');
  if (comma == std::string::npos) return;
  wanted = entry.substr(0, comma);
  file = entry.substr(comma + 1);
}

void FailPoint::compare(kj::StringPtr owner, kj::StringPtr place) {
  if (kj::str(owner, ' ', place) != wanted.c_str()) return;
  auto reached = times.lockExclusive();
  unsigned asked = 0;
  std::ifstream(file) >> asked;
  if (asked == 0 || ++*reached != asked) return;
  fprintf(stderr, "orchd: killed at '%s', as ORCH_KILL_AT asks\n", wanted.c_str());
  kill(getpid(), SIGKILL);
}

}  // namespace orch
