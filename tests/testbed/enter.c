// Runs a program in a test host in place of this process, as `host exec` does: its exit status, its
// signals. Tests do so thousands of times, each of which would be the start of a Python.
//
// usage: enter PID CMD...     PID: the host's first process
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// The mounts first: they hold all cgroup hierarchies.
static const char* const KINDS[] = {"mnt", "cgroup", "net", "uts", "pid"};
enum { COUNT = sizeof(KINDS) / sizeof(KINDS[0]) };
static const int PASSED[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static volatile sig_atomic_t child;

static void pass(int number) { kill(child, number); }

static void require(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "enter: %s: %s\n", what, strerror(errno));
  exit(1);
}

// A host's own processes are in the leaf `procs` of each hierarchy.
static void enterLeaf(void) {
  glob_t found;
  glob("/sys/fs/cgroup/procs/cgroup.procs", 0, NULL, &found);
  glob("/sys/fs/cgroup/*/procs/cgroup.procs", GLOB_APPEND, NULL, &found);
  for (size_t i = 0; i < found.gl_pathc; ++i) {
    int file = open(found.gl_pathv[i], O_WRONLY | O_CLOEXEC);
    require(file >= 0 && write(file, "0", 1) == 1, found.gl_pathv[i]);
    close(file);
  }
}

static void enterHost(const char* pid) {
  char path[64], where[PATH_MAX] = "/";
  int spaces[COUNT];
  for (int i = 0; i < COUNT; ++i) {
    snprintf(path, sizeof(path), "/proc/%s/ns/%s", pid, KINDS[i]);
    spaces[i] = open(path, O_RDONLY | O_CLOEXEC);
    require(spaces[i] >= 0, path);
  }
  getcwd(where, sizeof(where));
  for (int i = 0; i < COUNT; ++i) {
    require(setns(spaces[i], 0) == 0, KINDS[i]);
    if (i == 0) enterLeaf();
  }
  if (chdir(where) != 0) require(chdir("/") == 0, "/");
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: enter PID CMD...\n");
    return 2;
  }
  enterHost(argv[1]);
  sigset_t passed, before;
  sigemptyset(&passed);
  for (size_t i = 0; i < sizeof(PASSED) / sizeof(PASSED[0]); ++i) sigaddset(&passed, PASSED[i]);
  // One that comes early is passed on once there is somebody to have it.
  sigprocmask(SIG_BLOCK, &passed, &before);
  pid_t started = fork();  // the namespace of processes is for those that are begun from now on
  require(started >= 0, "fork");
  if (started == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    execvp(argv[2], argv + 2);
    fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
    _exit(127);
  }
  child = started;
  struct sigaction action = {.sa_handler = pass};
  for (size_t i = 0; i < sizeof(PASSED) / sizeof(PASSED[0]); ++i)
    sigaction(PASSED[i], &action, NULL);
  sigprocmask(SIG_SETMASK, &before, NULL);
  int status = 0;
  while (waitpid(started, &status, 0) < 0) require(errno == EINTR, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
