// The last words of orchd: any crash leaves in the log which signal it was, which plugin's code
// ran, and the stack.
#pragma once

#include <pthread.h>

#include <string>

namespace orch::loop {

// From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and an exception that nobody catches are
// told on stderr before they end the process as ever. Called on the loop's thread: there, and on
// the worker pools' threads, a stack that has run over is told as well. Once per process.
void reportCrashes();

// From now on the process has some seconds to end; then SIGALRM ends it, with a line on stderr. For
// the end of all, when work on a thread may hang in a file system that does not answer.
void endSoon();

// Ends the process by SIGABRT on `thread`. Its last words begin with `why`, a constant, and who
// holds it.
void abortThread(pthread_t thread, const char* why);

// The file of the plugin whose code runs on `thread` now, "the kernel" if it is in none, or "a
// system call that does not end" if the thread does not answer. After reportCrashes; one at a time.
std::string whoHolds(pthread_t thread);

}  // namespace orch::loop
