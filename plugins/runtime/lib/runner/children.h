// What a runner has started, and what that has: all of it is the runner's to reap and to end.
#pragma once

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

int64_t nowMs(void);
// Once, first: what loses its parent becomes the runner's child, and its end wakes `waitMs`.
void becomeReaper(void);
// In the child between vfork and exec: as a program expects to be started, and ended with the
// runner.
void becomeProgram(void);
// Until something happens with `what`, or a child ends. `ms` negative: for ever.
void waitMs(struct pollfd* what, int count, int64_t ms);
// Reaps whatever has ended. True if nothing is left; `status` is the program's, once it has one.
int reap(pid_t program, int* ended, int* status);
// To the program's process group, and to all of the runner's children.
void signalChildren(pid_t group, int number);
// SIGKILL until nothing is left.
void endAll(pid_t program, int* ended, int* status);
// As shells say it: 128 + signal.
int32_t exitCodeOf(int status);
