#include "kernel/loop/watchdog.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace orch::loop {

namespace {

constexpr int STACK_DEPTH = 64;

void printRaw(const char* text) {
  ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  (void)ignored;  // nothing is left to do about it
}

// Runs on the loop's thread, wherever it stands.
void nameCulprit(int) {
  void* frames[STACK_DEPTH];
  int depth = backtrace(frames, STACK_DEPTH);
  const char* culprit = nullptr;
  for (int i = 0; i < depth && culprit == nullptr; ++i) {
    Dl_info info;
    if (dladdr(frames[i], &info) != 0 && info.dli_fname != nullptr &&
        strstr(info.dli_fname, "/orch/plugins/") != nullptr) {
      culprit = info.dli_fname;
    }
  }
  printRaw("kernel.loop-blocked: the event loop has stood still for too long; held by ");
  printRaw(culprit == nullptr ? "the kernel" : culprit);
  printRaw("\n");
  backtrace_symbols_fd(frames, depth, STDERR_FILENO);
  signal(SIGABRT, SIG_DFL);
  abort();
}

}  // namespace

Watchdog::Watchdog(const LagMeter& meter, uint32_t limitMs)
    : meter(meter), limitMs(limitMs), loopThread(pthread_self()), thread([this] { watch(); }) {
  void* warm[1];
  backtrace(warm, 1);  // loads libgcc now: a signal handler must not
}

Watchdog::~Watchdog() {
  {
    std::lock_guard guard(mutex);
    stopping = true;
  }
  wake.notify_all();
  thread.join();
}

void Watchdog::watch() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  // Ten looks without a new beat: a machine that slept counts for one.
  constexpr int LOOKS = 10;
  uint64_t last = meter.beats();
  int silent = 0;
  std::unique_lock lock(mutex);
  // The loop may have stopped just before a beat was due: then it has stood still for a beat less
  // than there was none.
  auto pause = std::chrono::milliseconds((limitMs + LagMeter::BEAT_MS) / LOOKS);
  while (!wake.wait_for(lock, pause, [this] { return stopping; })) {
    uint64_t now = meter.beats();
    silent = now == last ? silent + 1 : 0;
    last = now;
    if (silent < LOOKS) continue;
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = &nameCulprit;
    sigaction(SIGABRT, &action, nullptr);
    pthread_kill(loopThread, SIGABRT);
    return;
  }
}

}  // namespace orch::loop
