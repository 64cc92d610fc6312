// nsfloor COUNT WORKERS MODE ROOTFS PROGRAM: the floor under every container runtime. Starts
// PROGRAM in new namespaces COUNT times with WORKERS processes side by side, without any OCI
// runtime, and prints one line of JSON. MODE, letters: p pid · m mount · n network · u uts · i ipc
// namespace · o overlayfs and pivot_root (needs m) · c joins eight cgroup v1 controllers. No
// letter: clone and exec only.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 65536, PATH_BYTES = 512 };
static const char* const CONTROLLERS[] = {"cpu",     "cpuacct", "memory", "pids",
                                          "devices", "freezer", "blkio",  "cpuset"};
enum { CONTROLLER_COUNT = sizeof CONTROLLERS / sizeof *CONTROLLERS };

// What every start needs; filled once in main, before the workers are forked.
struct plan {
  int count;
  int workers;
  int flags;
  const char* mode;
  const char* rootfs;
  const char* program;
  char base[PATH_BYTES / 2];
  pid_t* pids;  // shared with the workers
};
struct job {
  const struct plan* plan;
  int index;
};

static void die(const char* what) {
  fprintf(stderr, "nsfloor: %s: %s\n", what, strerror(errno));
  _exit(99);
}
static int has(const struct plan* plan, char letter) { return strchr(plan->mode, letter) != NULL; }

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void writeFile(const char* path, const char* text, size_t size) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, size) < 0) die(path);
  close(fd);
}

static void cgroupPath(char* path, const struct plan* plan, int controller, int index,
                       const char* file) {
  const char* name = strrchr(plan->base, '/') + 1;
  snprintf(path, PATH_BYTES, "/sys/fs/cgroup/%s/%s-%d%s", CONTROLLERS[controller], name, index,
           file);
}

// A cpuset takes no process before it has its own cpus and memory nodes.
static void fillCpuset(const struct plan* plan, int controller, int index) {
  const char* const files[] = {"/cpuset.cpus", "/cpuset.mems"};
  for (int i = 0; i < 2; i++) {
    char path[PATH_BYTES];
    char text[64];
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpuset%s", files[i]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (size < 0) die(path);
    close(fd);
    cgroupPath(path, plan, controller, index, files[i]);
    writeFile(path, text, size);
  }
}

static void makeCgroups(const struct plan* plan, int index) {
  for (int i = 0; i < CONTROLLER_COUNT; i++) {
    char path[PATH_BYTES];
    cgroupPath(path, plan, i, index, "");
    if (mkdir(path, 0755)) die(path);
    if (strcmp(CONTROLLERS[i], "cpuset") == 0) fillCpuset(plan, i, index);
  }
}

static void joinCgroups(const struct plan* plan, int index, pid_t pid) {
  char text[16];
  int size = snprintf(text, sizeof text, "%d", pid);
  for (int i = 0; i < CONTROLLER_COUNT; i++) {
    char path[PATH_BYTES];
    cgroupPath(path, plan, i, index, "/cgroup.procs");
    writeFile(path, text, size);
  }
}

static void makeFolders(const struct plan* plan, int index) {
  const char* const names[] = {"", "/upper", "/scratch", "/merged"};
  for (int i = 0; i < 4; i++) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%d%s", plan->base, index, names[i]);
    if (mkdir(path, 0700)) die(path);
  }
}

static void enterRoot(const struct job* job) {
  const struct plan* plan = job->plan;
  char options[3 * PATH_BYTES];
  char merged[PATH_BYTES];
  snprintf(merged, sizeof merged, "%s/%d/merged", plan->base, job->index);
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/%d/upper,workdir=%s/%d/scratch",
           plan->rootfs, plan->base, job->index, plan->base, job->index);
  if (mount("overlay", merged, "overlay", 0, options)) die("mount overlay");
  if (chdir(merged)) die("chdir");
  if (mount("proc", "proc", "proc", 0, NULL)) die("mount proc");
  if (mount("tmpfs", "dev", "tmpfs", 0, "size=64k")) die("mount tmpfs");
  if (syscall(SYS_pivot_root, ".", ".")) die("pivot_root");
  if (umount2(".", MNT_DETACH)) die("umount");
  if (chdir("/")) die("chdir /");
}

static int runChild(void* argument) {
  const struct job* job = argument;
  const struct plan* plan = job->plan;
  const char* program = plan->program;
  if (has(plan, 'm') && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("private mounts");
  if (has(plan, 'o')) {
    enterRoot(job);
    program = "/bin/wl";
  }
  execl(program, "wl", "floor", (char*)NULL);
  die("exec");
  return 1;
}

// Returns when the program has been exec'd: the pipe's other end is closed by that.
static void startOne(const struct plan* plan, int index, char* stack) {
  struct job job = {plan, index};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) die("pipe");
  if (has(plan, 'o')) makeFolders(plan, index);
  if (has(plan, 'c')) makeCgroups(plan, index);
  pid_t pid = clone(runChild, stack + STACK_BYTES, plan->flags, &job);
  if (pid < 0) die("clone");
  plan->pids[index] = pid;
  if (has(plan, 'c')) joinCgroups(plan, index, pid);
  close(ends[1]);
  char byte;
  if (read(ends[0], &byte, 1) < 0) die("read");
  close(ends[0]);
}

static void runWorker(const struct plan* plan, int worker) {
  char* stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) die("mmap");
  for (int i = worker; i < plan->count; i += plan->workers) startOne(plan, i, stack);
  _exit(0);
}

static void cleanUp(const struct plan* plan) {
  for (int i = 0; i < plan->count; i++) {
    if (plan->pids[i] > 0) kill(plan->pids[i], SIGKILL);
  }
  // The children belong to workers that are gone, so there is nothing to wait for.
  usleep(300000);
  const char* const names[] = {"/scratch/work", "/scratch", "/upper", "/merged", ""};
  for (int i = 0; i < plan->count; i++) {
    char path[PATH_BYTES];
    for (int k = 0; has(plan, 'c') && k < CONTROLLER_COUNT; k++) {
      cgroupPath(path, plan, k, i, "");
      rmdir(path);
    }
    for (int k = 0; has(plan, 'o') && k < 5; k++) {
      snprintf(path, sizeof path, "%s/%d%s", plan->base, i, names[k]);
      rmdir(path);
    }
  }
  rmdir(plan->base);
}

static int cloneFlags(const char* mode) {
  int flags = SIGCHLD;
  for (const char* letter = mode; *letter; letter++) {
    if (*letter == 'p') flags |= CLONE_NEWPID;
    if (*letter == 'm') flags |= CLONE_NEWNS;
    if (*letter == 'n') flags |= CLONE_NEWNET;
    if (*letter == 'u') flags |= CLONE_NEWUTS;
    if (*letter == 'i') flags |= CLONE_NEWIPC;
  }
  return strchr(mode, 'm') ? flags : flags | CLONE_VFORK;
}

int main(int argc, char** argv) {
  if (argc != 6 || atoi(argv[1]) < 1 || atoi(argv[2]) < 1) {
    fprintf(stderr, "usage: nsfloor COUNT WORKERS MODE ROOTFS PROGRAM\n");
    return 2;
  }
  struct plan plan = {.count = atoi(argv[1]),
                      .workers = atoi(argv[2]),
                      .mode = argv[3],
                      .rootfs = argv[4],
                      .program = argv[5],
                      .flags = cloneFlags(argv[3])};
  snprintf(plan.base, sizeof plan.base, "/var/tmp/bench-floor.%d", getpid());
  if (mkdir(plan.base, 0700)) die(plan.base);
  plan.pids = mmap(NULL, plan.count * sizeof *plan.pids, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (plan.pids == MAP_FAILED) die("mmap");
  double start = seconds();
  for (int i = 0; i < plan.workers; i++) {
    if (fork() == 0) runWorker(&plan, i);
  }
  int failed = 0;
  for (int i = 0; i < plan.workers; i++) {
    int status;
    wait(&status);
    if (status != 0) failed = 1;
  }
  double took = seconds() - start;
  printf("{\"mode\":\"%s\",\"n\":%d,\"par\":%d,\"total_s\":%.6f}\n", plan.mode, plan.count,
         plan.workers, took);
  cleanUp(&plan);
  return failed;
}
