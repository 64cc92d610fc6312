// Stays in a container that is looked after, and runs programs there when orchd asks for it: to
// enter a container anew each time would cost ten times as much. It has the container's rights and
// no more, and ends with the socket that it is asked by, and everything that it runs with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "children.h"
#include "one-program.h"
#include "protocol.h"
#include "wire.h"

enum {
  READS_AT_ONCE = 64
};  // more than a pipe holds; what is written without end holds up nothing

static char output[2 * RUNNER_MAX_OUTPUT];
static size_t outputBytes;

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
static pid_t start(char** words, int outputEnd, volatile int* error) {
  pid_t pid = vfork();
  if (pid != 0) return pid;
  becomeProgram();
  setsid();
  int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(outputEnd, 1);
  dup2(outputEnd, 2);
  if (null > 2) close(null);
  execvp(words[0], words);
  *error = errno;
  _exit(127);
}

static void run(char** words, const struct RunnerRequest* request, struct RunnerAnswer* answer) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    answer->error = errno;
    return;
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  volatile int error = 0;
  int64_t until = nowMs() + request->timeoutMs;
  pid_t program = start(words, ends[1], &error);
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
  answer->exitCode = exitCodeOf(status);
}

static int runOneByOne(void) {
  struct RunnerRequest request;
  while (readAll(&request, sizeof(request))) {
    if (request.maxOutputBytes > RUNNER_MAX_OUTPUT) return 1;
    char** words = readCommand(request.commandBytes);
    if (words == NULL) return 1;
    struct RunnerAnswer answer = {0};
    outputBytes = 0;
    run(words, &request, &answer);
    size_t kept = outputBytes < request.maxOutputBytes ? outputBytes : request.maxOutputBytes;
    answer.outputBytes = kept;
    writeAll(&answer, sizeof(answer));
    writeAll(output + outputBytes - kept, kept);
  }
  return 0;
}

// What enters a container for runc may take the limit of open files for itself, and leave it so.
static void limitFiles(const char* soft) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = strtoull(soft, NULL, 10);
  setrlimit(RLIMIT_NOFILE, &files);
}

// `one-program`, if it shall run just one; then the soft limit of open files, if the container has
// one of its own.
int main(int argc, char** argv) {
  int one = argc > 1 && strcmp(argv[1], RUNNER_ONE_PROGRAM) == 0;
  if (argc > 1 + one) limitFiles(argv[1 + one]);
  int null = open("/dev/null", O_RDWR);
  dup2(null, 1);
  dup2(null, 2);
  if (null > 2) close(null);
  close(RUNNER_PROGRAM_FD);
  fcntl(SOCKET, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_NAME, "orch-runner");
  becomeReaper();
  return one ? runOneProgram() : runOneByOne();
}
