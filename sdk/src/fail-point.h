// Ends this process at a named place, for crash tests (Env::failPoint).
#pragma once

#include <kj/mutex.h>
#include <kj/string.h>

#include <string>

namespace orch {

// Reads ORCH_KILL_AT once. From any thread.
class FailPoint final {
 public:
  FailPoint();
  void reached(kj::StringPtr owner, kj::StringPtr place) {
    if (!wanted.empty()) compare(owner, place);
  }

 private:
  void compare(kj::StringPtr owner, kj::StringPtr place);

  std::string wanted;  // "store.local commit-written"
  std::string file;
  kj::MutexGuarded<unsigned> times;  // reached since the file was there
};

}  // namespace orch
