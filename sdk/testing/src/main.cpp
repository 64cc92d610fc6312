#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

#include "orch/testing/plugin-module.h"

namespace {

// A moment before ctest's own TIMEOUT of 240 s, which names nothing, a run that stands still says
// where it waits. ORCH_PATIENCE is in seconds, 0 is for ever: for a debugger, and for long runs.
constexpr unsigned PATIENCE_SECONDS = 230;
constexpr int STACK_DEPTH = 64;

pthread_t testThread;
std::string testName;
const char* volatile lastFile = "";
volatile size_t lastLine = 0;

void standsStill(int number) {
  if (!pthread_equal(pthread_self(), testThread)) {
    pthread_kill(testThread, number);
    return;
  }
  fprintf(stderr, "\n'%s' has not ended in time; after %s:%zu it was in:\n", testName.c_str(),
          lastFile, lastLine);
  void* frames[STACK_DEPTH];
  backtrace_symbols_fd(frames, backtrace(frames, STACK_DEPTH), STDERR_FILENO);
  _exit(1);
}

class PatienceListener final : public Catch::TestEventListenerBase {
 public:
  explicit PatienceListener(const Catch::ReporterConfig& config)
      : Catch::TestEventListenerBase(config) {
    const char* text = std::getenv("ORCH_PATIENCE");
    testThread = pthread_self();
    signal(SIGALRM, &standsStill);
    alarm(text == nullptr ? PATIENCE_SECONDS : atoi(text));
  }
  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    testName = info.name;
    passed(info.lineInfo);
  }
  void assertionStarting(const Catch::AssertionInfo& info) override { passed(info.lineInfo); }

 private:
  static void passed(const Catch::SourceLineInfo& line) {
    lastFile = line.file;
    lastLine = line.line;
  }
};
CATCH_REGISTER_LISTENER(PatienceListener)

}  // namespace

// ORCH_WITHOUT names what this machine lacks ("netns cgroup"): tests with such a tag are left out.
int main(int argc, char** argv) {
  KJ_IF_MAYBE (status, orch::testing::serveModule(argc, argv)) return *status;
  Catch::Session session;
  if (int status = session.applyCommandLine(argc, argv); status != 0) return status;
  if (const char* without = std::getenv("ORCH_WITHOUT")) {
    std::istringstream needs(without);
    for (std::string need; needs >> need;) {
      session.configData().testsOrTags.push_back("~[" + need + "]");
    }
  }
  return session.run();
}
