// How many TCP connections a second there can be: usage: connrate serve PORT
//                                                       connrate ask SECONDS PORT ADDRESS...
// `ask` has 32 under way at any time, to the addresses in turn. One counts when a byte has gone
// there and another has come back. It is ended by a reset, so that neither side has a socket in
// TIME_WAIT: what waits there would end the run after 60,000. Prints the connections per second,
// and how many failed.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { UNDER_WAY = 32, EVENTS = 64, BACKLOG = 1024 };

static _Noreturn void fail(const char* what) {
  fprintf(stderr, "connrate: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void watch(int epoll, int operation, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll, operation, fd, &event) != 0) fail("epoll_ctl");
}

static void endAtOnce(int fd) {
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  close(fd);
}

static struct sockaddr_in addressOf(const char* host, const char* port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail(host);
  return address;
}

static void answer(int epoll, int fd) {
  char byte;
  ssize_t got = recv(fd, &byte, 1, 0);
  if (got == 1) got = send(fd, &byte, 1, MSG_NOSIGNAL);
  if (got == 1) return;
  epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
  close(fd);
}

static _Noreturn void serve(const char* port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  struct sockaddr_in address = addressOf("0.0.0.0", port);
  if (bind(listener, (struct sockaddr*)&address, sizeof(address)) != 0) fail("bind");
  if (listen(listener, BACKLOG) != 0) fail("listen");
  int epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd != listener) {
        answer(epoll, events[i].data.fd);
        continue;
      }
      int fd;
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
      }
    }
  }
}

static void begin(int epoll, const struct sockaddr_in* address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, (const struct sockaddr*)address, sizeof(*address)) != 0 && errno != EINPROGRESS) {
    fail("connect");
  }
  watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
}

// 1: it is done; 0: it goes on; -1: it failed.
static int advance(int epoll, const struct epoll_event* event) {
  int fd = event->data.fd;
  char byte = 'x';
  if (event->events & (EPOLLERR | EPOLLHUP)) return -1;
  if (event->events & EPOLLIN) return recv(fd, &byte, 1, 0) == 1 ? 1 : -1;
  if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) return -1;
  watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
  return 0;
}

static int ask(double seconds, const char* port, char** hosts, int count) {
  struct sockaddr_in* addresses = calloc((size_t)count, sizeof(*addresses));
  for (int i = 0; i < count; ++i) addresses[i] = addressOf(hosts[i], port);
  int epoll = epoll_create1(0);
  unsigned long started = 0, done = 0, failed = 0;
  for (; started < UNDER_WAY; ++started) begin(epoll, &addresses[started % (unsigned long)count]);
  double first = now();
  double last = first + seconds;
  while (now() < last) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, 100);
    for (int i = 0; i < ready; ++i) {
      int outcome = advance(epoll, &events[i]);
      if (outcome == 0) continue;
      done += outcome == 1;
      failed += outcome == -1;
      endAtOnce(events[i].data.fd);
      begin(epoll, &addresses[started++ % (unsigned long)count]);
    }
  }
  printf("%.1f %lu\n", (double)done / (now() - first), failed);
  return 0;
}

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "serve") == 0) serve(argv[2]);
  if (argc > 4 && strcmp(argv[1], "ask") == 0) {
    return ask(atof(argv[2]), argv[3], argv + 4, argc - 4);
  }
  fprintf(stderr, "usage: connrate serve PORT | connrate ask SECONDS PORT ADDRESS...\n");
  return 2;
}
