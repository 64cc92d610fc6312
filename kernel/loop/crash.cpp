#include "kernel/loop/crash.h"

#include <execinfo.h>
#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <exception>

#include "kernel/loop/stack.h"
#include "orch/fail.h"
#include "orch/task.h"

namespace orch::loop {

namespace {

constexpr int CRASHES[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr size_t HANDLER_STACK_BYTES = 128 << 10;
constexpr size_t WHY_BYTES = 1024;
constexpr unsigned LAST_SECONDS = 5;
constexpr int ANSWER_MS = 1000;

// Of the process, since signals are. What a handler uses is here before it is needed.
alignas(16) char handlerStack[HANDLER_STACK_BYTES];
std::atomic_flag dying = ATOMIC_FLAG_INIT;
std::atomic<const char*> blockedBecause{nullptr};
char exceptionText[WHY_BYTES];
Stack lastStack;
Stack holdersStack;
int taken = -1;  // an eventfd: holdersStack is there

void lastWords(int number, siginfo_t* info, void* context) {
  if (dying.test_and_set()) {
    for (;;) pause();  // another thread was first and is about to end all
  }
  alarm(LAST_SECONDS);  // if even this hangs
  lastStack.take(context);
  lastStack.locate();
  auto* plugin = lastStack.plugin();
  if (auto* why = blockedBecause.load()) {
    say(STDERR_FILENO, why);
    say(STDERR_FILENO, plugin == nullptr ? "the kernel" : plugin);
  } else {
    say(STDERR_FILENO, "kernel.crashed: signal ");
    sayNumber(STDERR_FILENO, number, 10);
    say(STDERR_FILENO, " (SIG");
    say(STDERR_FILENO, sigabbrev_np(number));
    say(STDERR_FILENO, ")");
    if (number != SIGABRT && info->si_code > 0) {
      say(STDERR_FILENO, " at 0x");
      sayNumber(STDERR_FILENO, reinterpret_cast<uintptr_t>(info->si_addr), 16);
    }
    say(STDERR_FILENO, " in ");
    say(STDERR_FILENO, plugin == nullptr ? "the kernel" : plugin);
    say(STDERR_FILENO, exceptionText);
  }
  say(STDERR_FILENO, "; its stack, for addr2line -Cfe FILE ADDRESS:\n");
  lastStack.print(STDERR_FILENO);
  signal(number, SIG_DFL);
  raise(number);  // once this handler has returned
}

void tellException() {
  static std::atomic_flag telling = ATOMIC_FLAG_INIT;
  if (!telling.test_and_set() && std::current_exception() != nullptr) {
    auto exception = currentException();
    auto text = kj::str(", an exception that nobody caught: ", plainText(exception));
    strncpy(exceptionText, text.cStr(), sizeof(exceptionText) - 1);
    for (char& c : exceptionText) {
      if (c == '\n' || c == '\r') c = ' ';
    }
  }
  abort();
}

void giveStack(int, siginfo_t*, void* context) {
  int before = errno;
  holdersStack.take(context);
  uint64_t one = 1;
  ssize_t ignored = write(taken, &one, sizeof(one));
  (void)ignored;
  errno = before;
}

void tellLate(int number, siginfo_t*, void*) {
  say(STDERR_FILENO, "kernel.end-hangs: work on a thread does not end, going without it\n");
  signal(number, SIG_DFL);
  raise(number);
}

void handle(int number, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | flags;
  KJ_SYSCALL(sigaction(number, &action, nullptr), number);
}

}  // namespace

void reportCrashes() {
  void* warm[1];
  backtrace(warm, 1);  // loads libgcc now: a signal's handler must not
  KJ_SYSCALL(taken = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  stack_t stack = {};
  stack.ss_sp = handlerStack;
  stack.ss_size = sizeof(handlerStack);
  KJ_SYSCALL(sigaltstack(&stack, nullptr));
  for (int number : CRASHES) handle(number, &lastWords, 0);
  handle(SIGRTMIN, &giveStack, SA_RESTART);
  std::set_terminate(&tellException);
}

void endSoon() {
  handle(SIGALRM, &tellLate, 0);
  alarm(LAST_SECONDS);
}

void abortThread(pthread_t thread, const char* why) {
  blockedBecause = why;
  pthread_kill(thread, SIGABRT);
}

std::string whoHolds(pthread_t thread) {
  uint64_t late;
  while (read(taken, &late, sizeof(late)) > 0) {  // of one that answered too late
  }
  pthread_kill(thread, SIGRTMIN);
  struct pollfd answer = {taken, POLLIN, 0};
  if (poll(&answer, 1, ANSWER_MS) <= 0) return "a system call that does not end";
  auto found = holdersStack;
  found.locate();
  return found.plugin() == nullptr ? "the kernel" : found.plugin();
}

}  // namespace orch::loop
