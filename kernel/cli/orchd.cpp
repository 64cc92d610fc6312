#include "orchd.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <vector>

#include "orch/fail.h"

namespace orch::cli {

void becomeOrchd(kj::Array<kj::String> arguments) {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
  kj::String beside = kj::str("orchd");
  if (n > 0) {
    self[n] = '\0';
    kj::StringPtr path = self;
    KJ_IF_MAYBE (slash, path.findLast('/')) {
      auto candidate = kj::str(kj::heapString(path.begin(), *slash), "/orchd");
      if (access(candidate.cStr(), X_OK) == 0) beside = kj::mv(candidate);
    }
  }
  std::vector<char*> argv;
  argv.push_back(beside.begin());
  for (auto& argument : arguments) argv.push_back(argument.begin());
  argv.push_back(nullptr);
  signal(SIGPIPE, SIG_DFL);  // KJ ignores it, and that would be inherited
  execvp(beside.cStr(), argv.data());
  fail(kj::str("cannot run orchd: ", strerror(errno), "; it belongs beside orch or in PATH"));
}

}  // namespace orch::cli
