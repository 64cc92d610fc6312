// Stays in a container that is looked after, and runs programs there when orchd asks for it: to
// enter a container anew each time would cost ten times as much. It has the container's rights and
// no more, and ends with the socket that it is asked by, and everything that it runs with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"

enum {
  SOCKET = 0,
  MAX_WORDS = 4096,
  KILL_PATIENCE_MS = 1000,  // what hangs in the kernel longer is not waited for
  LOOK_AGAIN_MS = 5,
  READS_AT_ONCE = 64,  // more than a pipe holds; what is written without end holds up nothing
};

static char command[RUNNER_MAX_COMMAND];
static char* words[MAX_WORDS + 1];
static char output[2 * RUNNER_MAX_OUTPUT];
static size_t outputBytes;
static sigset_t withChildSignal;  // while it waits

static int64_t nowMs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void onChild(int number) { (void)number; }

// False at the end of the stream.
static int readAll(void* to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = read(SOCKET, (char*)to + done, bytes - done);
    if (n == 0 || (n < 0 && errno != EINTR)) return 0;
    if (n > 0) done += n;
  }
  return 1;
}

static void writeAll(const void* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = send(SOCKET, (const char*)from + done, bytes - done, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) exit(0);
    if (n > 0) done += n;
  }
}

// At least the last `maxBytes`.
static void keepOutput(int from, size_t maxBytes) {
  for (int i = 0; i < READS_AT_ONCE; ++i) {
    ssize_t n = read(from, output + outputBytes, sizeof(output) - outputBytes);
    if (n <= 0) return;
    outputBytes += n;
    if (outputBytes < sizeof(output)) continue;
    memmove(output, output + outputBytes - maxBytes, maxBytes);
    outputBytes = maxBytes;
  }
}

// Shares the runner's memory until it has become the program.
static pid_t start(int outputEnd, volatile int* error) {
  pid_t pid = vfork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(outputEnd, 1);
  dup2(outputEnd, 2);
  if (null > 2) close(null);
  signal(SIGCHLD, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvp(words[0], words);
  *error = errno;
  _exit(127);
}

// Those whose parent has gone are its own children, as it is their reaper.
static void killChildren(pid_t group) {
  kill(-group, SIGKILL);
  char pids[4096];
  int list = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (list < 0) return;
  ssize_t n = read(list, pids, sizeof(pids) - 1);
  close(list);
  pids[n < 0 ? 0 : n] = '\0';
  char* rest = pids;
  // What does not fit is for the next time, and so is a number that is cut off.
  for (char* end; (end = strchr(rest, ' ')) != NULL; rest = end + 1) kill(atoi(rest), SIGKILL);
}

// Reaps whatever has ended. True if nothing is left; `status` is the program's, once it has one.
static int reap(pid_t program, int* ended, int* status) {
  for (;;) {
    int one;
    pid_t pid = waitpid(-1, &one, WNOHANG);
    if (pid < 0) return 1;
    if (pid == 0) return 0;
    if (pid == program) *ended = 1, *status = one;
  }
}

static void waitMs(struct pollfd* what, int count, int64_t ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  for (int i = 0; i < count; ++i) what[i].revents = 0;
  ppoll(what, count, &time, &withChildSignal);
}

static void endAll(pid_t program, int* ended, int* status) {
  int64_t until = nowMs() + KILL_PATIENCE_MS;
  while (!reap(program, ended, status) && nowMs() < until) {
    killChildren(program);
    waitMs(NULL, 0, LOOK_AGAIN_MS);
  }
}

static void run(const struct RunnerRequest* request, struct RunnerAnswer* answer) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    answer->error = errno;
    return;
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  volatile int error = 0;
  int64_t until = nowMs() + request->timeoutMs;
  pid_t program = start(ends[1], &error);
  if (program < 0) error = errno;
  close(ends[1]);
  int ended = program < 0, status = 0;
  while (!ended) {
    int none = reap(program, &ended, &status);
    int64_t leftMs = until - nowMs();
    if (ended || none || leftMs <= 0) break;
    // A pipe that its writers have closed would be ready for ever.
    struct pollfd what[2] = {{SOCKET, POLLIN | POLLRDHUP, 0}, {ends[0], POLLIN, 0}};
    int open = ends[0] >= 0;
    waitMs(what, 1 + open, leftMs);
    if (what[0].revents != 0) {  // nobody waits for the answer any more
      endAll(program, &ended, &status);
      exit(0);
    }
    if (open && what[1].revents != 0) keepOutput(ends[0], request->maxOutputBytes);
    if (open && (what[1].revents & (POLLHUP | POLLIN)) == POLLHUP) {
      close(ends[0]);
      ends[0] = -1;
    }
  }
  answer->timedOut = !ended;
  if (program > 0) endAll(program, &ended, &status);
  if (ends[0] >= 0) {
    keepOutput(ends[0], request->maxOutputBytes);
    close(ends[0]);
  }
  answer->error = error;
  answer->exitCode = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// False if it is none that orchd would send.
static int split(size_t bytes) {
  size_t count = 0;
  for (size_t at = 0; at < bytes; at += strlen(command + at) + 1) {
    if (count == MAX_WORDS) return 0;
    words[count++] = command + at;
  }
  words[count] = NULL;
  return count > 0;
}

// What enters a container for runc may take the limit of open files for itself, and leave it so.
static void limitFiles(const char* soft) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = strtoull(soft, NULL, 10);
  setrlimit(RLIMIT_NOFILE, &files);
}

// The soft limit of open files, if the container has one of its own.
int main(int argc, char** argv) {
  if (argc > 1) limitFiles(argv[1]);
  int null = open("/dev/null", O_RDWR);
  dup2(null, 1);
  dup2(null, 2);
  close(null);
  close(RUNNER_PROGRAM_FD);
  fcntl(SOCKET, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_NAME, "orch-runner");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &withChildSignal);
  sigdelset(&withChildSignal, SIGCHLD);
  struct sigaction action = {.sa_handler = onChild};
  sigaction(SIGCHLD, &action, NULL);

  struct RunnerRequest request;
  while (readAll(&request, sizeof(request))) {
    if (request.commandBytes == 0 || request.commandBytes > sizeof(command)) return 1;
    if (request.maxOutputBytes > RUNNER_MAX_OUTPUT) return 1;
    if (!readAll(command, request.commandBytes)) break;
    if (command[request.commandBytes - 1] != '\0' || !split(request.commandBytes)) return 1;
    struct RunnerAnswer answer = {0};
    outputBytes = 0;
    run(&request, &answer);
    size_t kept = outputBytes < request.maxOutputBytes ? outputBytes : request.maxOutputBytes;
    answer.outputBytes = kept;
    writeAll(&answer, sizeof(answer));
    writeAll(output + outputBytes - kept, kept);
  }
  return 0;
}
