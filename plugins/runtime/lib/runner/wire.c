#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol.h"

enum { MAX_WORDS = 4096 };

static char command[RUNNER_MAX_COMMAND];
static char* words[MAX_WORDS + 1];

int readAll(void* to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = read(SOCKET, (char*)to + done, bytes - done);
    if (n == 0 || (n < 0 && errno != EINTR)) return 0;
    if (n > 0) done += n;
  }
  return 1;
}

void writeAll(const void* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = send(SOCKET, (const char*)from + done, bytes - done, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) exit(0);
    if (n > 0) done += n;
  }
}

char** readCommand(size_t bytes) {
  if (bytes == 0 || bytes > sizeof(command) || !readAll(command, bytes)) return NULL;
  if (command[bytes - 1] != '\0') return NULL;
  size_t count = 0;
  for (size_t at = 0; at < bytes; at += strlen(command + at) + 1) {
    if (count == MAX_WORDS) return NULL;
    words[count++] = command + at;
  }
  words[count] = NULL;
  return words;
}
