// fsynclat DIR COUNT BYTES: what the disk that holds the state takes for a durable write. Does
// COUNT writes of BYTES in five ways and prints a line of JSON for each, in microseconds.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum way { APPEND_FDATASYNC, APPEND_FSYNC, OVERWRITE_FDATASYNC, OVERWRITE_DSYNC, REPLACE, WAYS };
static const char* const NAMES[WAYS] = {"append_fdatasync", "append_fsync", "prealloc_fdatasync",
                                        "prealloc_dsync", "create_write_fsync_rename_dirsync"};

static double nowUs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int compare(const void* a, const void* b) {
  double x = *(const double*)a;
  double y = *(const double*)b;
  return (x > y) - (x < y);
}

static void check(int failed, const char* what) {
  if (!failed) return;
  perror(what);
  exit(1);
}

static void put(int fd, const char* data, int size) {
  check(write(fd, data, size) != size, "write");
}

// The file that all but REPLACE write to. For the overwrites it is really written first, not only
// allocated: otherwise each sync would also convert an unwritten extent.
static int openFile(enum way way, const char* path, const char* data, int count, int size) {
  int flags = O_CREAT | O_TRUNC | O_WRONLY | (way == OVERWRITE_DSYNC ? O_DSYNC : 0);
  int fd = open(path, flags, 0600);
  check(fd < 0, path);
  if (way == OVERWRITE_FDATASYNC || way == OVERWRITE_DSYNC) {
    for (int i = 0; i < count; i++) put(fd, data, size);
    check(fsync(fd), "fsync");
    lseek(fd, 0, SEEK_SET);
  }
  return fd;
}

static void replaceFile(int folder, const char* path, const char* data, int size) {
  char renamed[520];
  snprintf(renamed, sizeof renamed, "%s.new", path);
  int fd = open(renamed, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  check(fd < 0, renamed);
  put(fd, data, size);
  check(fsync(fd), "fsync");
  close(fd);
  check(rename(renamed, path), "rename");
  check(fsync(folder), "fsync of the folder");
}

static void writeOnce(enum way way, int fd, int folder, const char* path, const char* data,
                      int size) {
  if (way == REPLACE) {
    replaceFile(folder, path, data, size);
    return;
  }
  put(fd, data, size);
  if (way == APPEND_FSYNC) check(fsync(fd), "fsync");
  if (way == APPEND_FDATASYNC || way == OVERWRITE_FDATASYNC) check(fdatasync(fd), "fdatasync");
}

static void report(enum way way, double* us, int count, int size) {
  qsort(us, count, sizeof *us, compare);
  printf(
      "{\"fig\":\"fsync.%s\",\"sys\":\"limit\",\"unit\":\"us\",\"size\":%d,\"n\":%d,"
      "\"min\":%.1f,\"median\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n",
      NAMES[way], size, count, us[0], us[count / 2], us[count * 9 / 10], us[count * 99 / 100],
      us[count - 1]);
}

int main(int argc, char** argv) {
  if (argc != 4 || atoi(argv[2]) < 1 || atoi(argv[3]) < 1) {
    fprintf(stderr, "usage: fsynclat DIR COUNT BYTES\n");
    return 2;
  }
  int count = atoi(argv[2]);
  int size = atoi(argv[3]);
  char* data = calloc(1, size);
  double* us = malloc(count * sizeof *us);
  char path[512];
  snprintf(path, sizeof path, "%s/fsynclat.%d", argv[1], getpid());
  int folder = open(argv[1], O_RDONLY | O_DIRECTORY);
  check(folder < 0 || data == NULL || us == NULL, argv[1]);
  for (enum way way = 0; way < WAYS; way++) {
    int fd = way == REPLACE ? -1 : openFile(way, path, data, count, size);
    for (int i = 0; i < count; i++) {
      double start = nowUs();
      writeOnce(way, fd, folder, path, data, size);
      us[i] = nowUs() - start;
    }
    if (fd >= 0) close(fd);
    unlink(path);
    report(way, us, count, size);
  }
  free(us);
  free(data);
  close(folder);
}
