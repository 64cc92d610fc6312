#define _GNU_SOURCE
#include "children.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  KILL_PATIENCE_MS = 1000,  // what hangs in the kernel longer is not waited for
  LOOK_AGAIN_MS = 5,
};

static sigset_t withChildSignal;  // while it waits

static void onChild(int number) { (void)number; }

int64_t nowMs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void becomeReaper(void) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &withChildSignal);
  sigdelset(&withChildSignal, SIGCHLD);
  struct sigaction action = {.sa_handler = onChild};
  sigaction(SIGCHLD, &action, NULL);
}

void becomeProgram(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // What was ignored by whoever entered the container would be ignored by the program.
  for (int number = 1; number <= SIGRTMAX; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

void waitMs(struct pollfd* what, int count, int64_t ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  for (int i = 0; i < count; ++i) what[i].revents = 0;
  ppoll(what, count, ms < 0 ? NULL : &time, &withChildSignal);
}

int reap(pid_t program, int* ended, int* status) {
  for (;;) {
    int one;
    pid_t pid = waitpid(-1, &one, WNOHANG);
    if (pid < 0) return 1;
    if (pid == 0) return 0;
    if (pid == program) *ended = 1, *status = one;
  }
}

// Those whose parent has gone are its own children, as it is their reaper.
void signalChildren(pid_t group, int number) {
  kill(-group, number);
  char pids[4096];
  int list = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (list < 0) return;
  ssize_t n = read(list, pids, sizeof(pids) - 1);
  close(list);
  pids[n < 0 ? 0 : n] = '\0';
  char* rest = pids;
  // What does not fit is for the next time, and so is a number that is cut off.
  for (char* end; (end = strchr(rest, ' ')) != NULL; rest = end + 1) kill(atoi(rest), number);
}

void endAll(pid_t program, int* ended, int* status) {
  int64_t until = nowMs() + KILL_PATIENCE_MS;
  while (!reap(program, ended, status) && nowMs() < until) {
    signalChildren(program, SIGKILL);
    waitMs(NULL, 0, LOOK_AGAIN_MS);
  }
}

int32_t exitCodeOf(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
