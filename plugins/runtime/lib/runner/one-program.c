// A program that somebody looks on: its output, input and terminal are orchd's. What is left here
// is to start it, to pass signals on, to say how it ended, and to end it with all that it has
// started when orchd has gone.
#define _GNU_SOURCE
#include "one-program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "protocol.h"
#include "wire.h"

enum { HANGUP_PATIENCE_MS = 1000 };  // to end by itself when its user has gone

struct Terminal {
  int ours;  // -1: there is none
  int theirs;
};

static int openTerminal(const struct ProgramRequest* request, struct Terminal* terminal) {
  terminal->ours = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (terminal->ours < 0) return errno;
  int locked = 0;
  if (ioctl(terminal->ours, TIOCSPTLCK, &locked) != 0) return errno;
  terminal->theirs = ioctl(terminal->ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal->theirs < 0) return errno;
  struct winsize size = {.ws_row = request->rows, .ws_col = request->columns};
  if (size.ws_row != 0 && size.ws_col != 0) ioctl(terminal->ours, TIOCSWINSZ, &size);
  return 0;
}

// Shares the runner's memory until it has become the program.
static pid_t startProgram(char** words, const struct Terminal* terminal, volatile int* error) {
  pid_t pid = vfork();
  if (pid != 0) return pid;
  becomeProgram();
  setsid();
  for (int i = 0; i < 3; ++i) {
    dup2(terminal->ours >= 0 ? terminal->theirs : RUNNER_STDIO_FD + i, i);
  }
  if (terminal->ours >= 0) ioctl(0, TIOCSCTTY, 0);
  execvp(words[0], words);
  *error = errno;
  _exit(127);
}

static void sayStarted(int error, int noTerminal, int descriptor) {
  struct ProgramStarted started = {error, noTerminal};
  if (descriptor < 0 || error != 0) {
    writeAll(&started, sizeof(started));
    return;
  }
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } beside = {0};
  struct iovec data = {&started, sizeof(started)};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = &beside, .msg_controllen = sizeof(beside)};
  beside.header.cmsg_level = SOL_SOCKET;
  beside.header.cmsg_type = SCM_RIGHTS;
  beside.header.cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(&beside.header), &descriptor, sizeof(descriptor));
  while (sendmsg(SOCKET, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

// Of a terminal that nobody looks at: a program that writes must not stand still.
static int drop(int from) {
  char bytes[4096];
  ssize_t n = read(from, bytes, sizeof(bytes));
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void hangUp(pid_t program, int* ended, int* status) {
  signalChildren(program, SIGHUP);
  signalChildren(program, SIGCONT);
  int64_t until = nowMs() + HANGUP_PATIENCE_MS;
  for (;;) {
    int none = reap(program, ended, status);
    int64_t leftMs = until - nowMs();
    if (none || leftMs <= 0) break;
    waitMs(NULL, 0, leftMs);
  }
  endAll(program, ended, status);
}

// Until it has ended. False: nobody is there to be told.
static int lookAfter(pid_t program, int terminal, int* status) {
  int ended = 0, letGo = 0, attended = 1;
  for (;;) {
    reap(program, &ended, status);
    if (ended) return attended;
    struct pollfd what[2] = {{attended ? SOCKET : -1, POLLIN, 0},
                             {attended ? -1 : terminal, POLLIN, 0}};
    waitMs(what, 2, -1);
    if (what[1].revents != 0 && !drop(terminal)) terminal = -1;
    if (what[0].revents == 0) continue;
    struct ProgramOrder order;
    if (!readAll(&order, sizeof(order))) {
      attended = 0;
      if (letGo) continue;
      hangUp(program, &ended, status);
      return 0;
    }
    if (order.order == PROGRAM_LET_GO) letGo = 1;
    if (order.order == PROGRAM_SIGNAL) kill(-program, order.signal);
  }
}

int runOneProgram(void) {
  for (int i = 0; i < 3; ++i) fcntl(RUNNER_STDIO_FD + i, F_SETFD, FD_CLOEXEC);
  struct ProgramRequest request;
  if (!readAll(&request, sizeof(request))) return 0;
  char** words = readCommand(request.commandBytes);
  if (words == NULL) return 1;
  struct Terminal terminal = {-1, -1};
  if (request.terminal) {
    int failed = openTerminal(&request, &terminal);
    if (failed != 0) {
      sayStarted(failed, 1, -1);
      return 0;
    }
  }
  volatile int error = 0;
  pid_t program = startProgram(words, &terminal, &error);
  if (program < 0) error = errno;
  if (terminal.theirs >= 0) close(terminal.theirs);
  if (!request.terminal) {
    for (int i = 0; i < 3; ++i) close(RUNNER_STDIO_FD + i);
  }
  sayStarted(error, 0, terminal.ours);
  if (error != 0) return 0;
  int status = 0;
  if (!lookAfter(program, terminal.ours, &status)) return 0;
  struct ProgramEnded last = {exitCodeOf(status)};
  writeAll(&last, sizeof(last));
  return 0;
}
