// A web server that ends as one should: what it was asked is answered, on SIGTERM as well, each
// answer from then on being the last of its connection; idle connections are closed after PATIENCE.
// Answers with its host name and $VERSION. One thread; linked statically, to run in any container.
//
// usage: patient-server PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000, PATIENCE_MS = 2000, REQUEST = 2048 };

static volatile sig_atomic_t stopping;
static void stop(int number) { stopping = number; }

struct Client {
  char text[REQUEST];
  size_t length;
};
static struct pollfd polled[MOST + 1];  // the first one is the listener
static struct Client clients[MOST + 1];
static nfds_t count = 1;

static void drop(nfds_t i) {
  close(polled[i].fd);
  --count;
  polled[i] = polled[count];
  clients[i] = clients[count];
}

// False if the connection is over.
static int serve(nfds_t i) {
  struct Client* client = &clients[i];
  ssize_t got = recv(polled[i].fd, client->text + client->length, REQUEST - 1 - client->length, 0);
  if (got < 0 && errno == EINTR) return 1;
  if (got <= 0) return 0;
  client->length += got;
  client->text[client->length] = 0;
  if (strstr(client->text, "\r\n\r\n") == NULL) return client->length < REQUEST - 1;
  int last = stopping != 0 || strstr(client->text, "Connection: close") != NULL;
  client->length = 0;
  char name[256] = "";
  gethostname(name, sizeof(name) - 1);
  const char* version = getenv("VERSION");
  char body[512], answer[1024];
  int size = snprintf(body, sizeof(body), "%s %s\n", name, version == NULL ? "-" : version);
  int all = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s", size,
                     last ? "close" : "keep-alive", body);
  return send(polled[i].fd, answer, all, MSG_NOSIGNAL) == all && !last;
}

static long nowMs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char** argv) {
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  struct sockaddr_in place = {.sin_family = AF_INET,
                              .sin_port = htons(argc > 1 ? atoi(argv[1]) : 80)};
  int on = 1;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(listener, (struct sockaddr*)&place, sizeof(place)) != 0 || listen(listener, 1024) != 0) {
    perror("patient-server");
    return 1;
  }
  polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
  long end = 0;
  for (;;) {
    if (stopping && end == 0) end = nowMs() + PATIENCE_MS;
    if (stopping && (count == 1 || nowMs() >= end)) return 0;
    if (poll(polled, count, stopping ? 50 : -1) < 0) continue;
    for (nfds_t i = count; i-- > 1;) {
      if (polled[i].revents != 0 && !serve(i)) drop(i);
    }
    if (polled[0].revents != 0 && count <= MOST) {
      int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
      if (client < 0) continue;
      clients[count].length = 0;
      polled[count++] = (struct pollfd){.fd = client, .events = POLLIN};
    }
  }
}
