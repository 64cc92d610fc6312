// The clock of the benchmarks. Prints a line per exec and per exit of a process, with the time that
// the kernel itself took (proc connector, CLOCK_MONOTONIC in nanoseconds), so that nothing is
// polled and no orchestrator is asked:
//   R                                ready: everything from now on is seen
//   X <ns> <pid> <parent> <command>  exec
//   Q <ns> <pid> <status>            exit of a process (not of its other threads)
//   L                                the kernel had to drop events
// Pids are those of the initial pid namespace. Runs as root in the initial pid and user namespace.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WANT_EXEC = 0x00000002u, WANT_EXIT = 0x80000000u };
enum { RECEIVE_BUFFER_BYTES = 64 << 20, COMMAND_BYTES = 420 };

static int fail(const char* what) {
  perror(what);
  return 1;
}

// Reads at most `size - 1` bytes and ends them with a zero. 0 if the process is gone already.
static ssize_t readFile(const char* path, char* text, size_t size) {
  text[0] = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t count = read(fd, text, size - 1);
  close(fd);
  if (count < 0) count = 0;
  text[count] = 0;
  return count;
}

static void commandOf(int pid, char* text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
  ssize_t count = readFile(path, text, COMMAND_BYTES);
  for (ssize_t i = 0; i < count; i++) {
    if (text[i] == 0 || text[i] == '\n') text[i] = ' ';
  }
}

static int parentOf(int pid) {
  char path[64];
  char text[256];
  int parent = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  readFile(path, text, sizeof text);
  const char* end = strrchr(text, ')');
  if (end != NULL && sscanf(end + 2, "%*c %d", &parent) != 1) parent = 0;
  return parent;
}

static void print(const struct proc_event* event) {
  unsigned long long ns = event->timestamp_ns;
  if ((unsigned)event->what == WANT_EXEC) {
    int pid = event->event_data.exec.process_tgid;
    char command[COMMAND_BYTES];
    commandOf(pid, command);
    printf("X %llu %d %d %s\n", ns, pid, parentOf(pid), command);
  } else if ((unsigned)event->what == WANT_EXIT) {
    int pid = event->event_data.exit.process_pid;
    if (pid != event->event_data.exit.process_tgid) return;
    printf("Q %llu %d %d\n", ns, pid, (int)event->event_data.exit.exit_code);
  }
}

// Asks for exec and exit events only (a filter that kernels before 6.6 ignore).
static int subscribe(int fd) {
  struct {
    int operation;
    unsigned events;
  } request = {PROC_CN_MCAST_LISTEN, WANT_EXEC | WANT_EXIT};
  char buffer[NLMSG_SPACE(sizeof(struct cn_msg) + sizeof request)];
  memset(buffer, 0, sizeof buffer);
  struct nlmsghdr* header = (void*)buffer;
  struct cn_msg* message = NLMSG_DATA(header);
  header->nlmsg_type = NLMSG_DONE;
  header->nlmsg_len = NLMSG_LENGTH(sizeof *message + sizeof request);
  header->nlmsg_pid = getpid();
  message->id.idx = CN_IDX_PROC;
  message->id.val = CN_VAL_PROC;
  message->len = sizeof request;
  memcpy(message->data, &request, sizeof request);
  return send(fd, header, header->nlmsg_len, 0) < 0 ? -1 : 0;
}

static int watch(int fd) {
  static char buffer[65536];
  for (;;) {
    ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) {
      if (fflush(stdout) != 0) return 0;
      count = recv(fd, buffer, sizeof buffer, 0);
    }
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno != ENOBUFS) return fail("recv");
      printf("L\n");
      continue;
    }
    uint32_t left = (uint32_t)count;
    for (struct nlmsghdr* header = (void*)buffer; NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      struct cn_msg* message = NLMSG_DATA(header);
      print((const struct proc_event*)message->data);
    }
  }
}

int main(void) {
  int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);
  if (fd < 0) return fail("socket");
  int bytes = RECEIVE_BUFFER_BYTES;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
    return fail("SO_RCVBUFFORCE");
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
  if (bind(fd, (struct sockaddr*)&address, sizeof address)) return fail("bind");
  if (subscribe(fd)) return fail("send");
  static char output[1 << 16];
  setvbuf(stdout, output, _IOFBF, sizeof output);
  printf("R\n");
  fflush(stdout);
  return watch(fd);
}
