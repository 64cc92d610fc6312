#include "kernel/loop/stack.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/ucontext.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>

namespace orch::loop {

namespace {

// Files of plugins in this process, of all kernels; they are never unmapped.
constexpr size_t MAX_PLUGINS = 128;
constexpr size_t PLUGIN_PATH_BYTES = 512;
struct PluginFile {
  std::atomic<uintptr_t> base{0};
  char path[PLUGIN_PATH_BYTES];
};
PluginFile pluginFiles[MAX_PLUGINS];

const char* pluginAt(uintptr_t base) {
  for (auto& file : pluginFiles) {
    auto known = file.base.load(std::memory_order_acquire);
    if (known == 0) return nullptr;
    if (known == base) return file.path;
  }
  return nullptr;
}

// False if nothing is mapped there.
template <typename T>
bool readSafely(uintptr_t at, T& into) {
  iovec here = {&into, sizeof(into)}, there = {reinterpret_cast<void*>(at), sizeof(into)};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof(into);
}

struct Registers {
  uintptr_t here, frame, returnsTo;
};

// Of a thread that has not yet made a frame where it stands.
Registers registersOf(void* context) {
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  Registers found{static_cast<uintptr_t>(machine.gregs[REG_RIP]),
                  static_cast<uintptr_t>(machine.gregs[REG_RBP]), 0};
  readSafely(machine.gregs[REG_RSP], found.returnsTo);
  return found;
#elif defined(__aarch64__)
  return {machine.pc, machine.regs[29], machine.regs[30]};
#endif
}

uintptr_t hexadecimal(const char*& text) {
  uintptr_t number = 0;
  for (;; ++text) {
    char c = *text;
    if (c >= '0' && c <= '9') {
      number = number * 16 + (c - '0');
    } else if (c >= 'a' && c <= 'f') {
      number = number * 16 + (c - 'a' + 10);
    } else {
      return number;
    }
  }
}

}  // namespace

void notePluginFile(const void* inside, const char* path) {
  static std::mutex mutex;
  Dl_info info;
  if (dladdr(inside, &info) == 0) return;
  auto base = reinterpret_cast<uintptr_t>(info.dli_fbase);
  std::lock_guard guard(mutex);
  if (pluginAt(base) != nullptr) return;
  for (auto& file : pluginFiles) {
    if (file.base != 0) continue;
    strncpy(file.path, path, sizeof(file.path) - 1);
    file.base.store(base, std::memory_order_release);
    return;
  }
}

void Stack::take(void* context) {
  if (context == nullptr) {
    depth = backtrace(frames, MAX_FRAMES);
    return;
  }
  exact = true;
  auto registers = registersOf(context);
  char code;
  if (!readSafely(registers.here, code)) {
    takeFrames(registers.here, registers.returnsTo, registers.frame);
    return;
  }
  depth = backtrace(frames, MAX_FRAMES);
  size_t first = 0;
  while (first < depth && frames[first] != reinterpret_cast<void*>(registers.here)) ++first;
  if (first == depth) first = 0;
  depth -= first;
  memmove(frames, frames + first, depth * sizeof(frames[0]));
}

// A call to nowhere: there the unwinder would look for code. Our own code has frame pointers.
void Stack::takeFrames(uintptr_t here, uintptr_t returnsTo, uintptr_t frame) {
  frames[0] = reinterpret_cast<void*>(here);
  frames[1] = reinterpret_cast<void*>(returnsTo);
  for (depth = 2; depth < MAX_FRAMES; ++depth) {
    uintptr_t above[2];  // the caller's frame, and where the call returns to
    if (frame == 0 || !readSafely(frame, above) || above[0] <= frame) return;
    frames[depth] = reinterpret_cast<void*>(above[1]);
    frame = above[0];
  }
}

// start-end mode offset device inode path
void Stack::locateIn(const char* line) {
  auto start = hexadecimal(line);
  auto end = hexadecimal(++line);
  for (int blanks = 0; blanks < 2; ++line) {
    if (*line == '\0') return;
    if (*line == ' ') ++blanks;
  }
  auto offset = hexadecimal(line);
  auto* path = strchr(line, '/');
  if (path == nullptr) return;
  bool same = fileCount > 0 && strncmp(files[fileCount - 1], path, PATH_BYTES - 1) == 0;
  if (!same) {
    if (fileCount == 0 || used) {
      if (fileCount == MAX_FILES) return;
      ++fileCount;
    }
    strncpy(files[fileCount - 1], path, PATH_BYTES - 1);
    files[fileCount - 1][PATH_BYTES - 1] = '\0';
    base = start - offset;
    used = false;
  }
  for (size_t i = 0; i < depth; ++i) {
    // What a call returns to may be the next function's first byte.
    auto at = reinterpret_cast<uintptr_t>(frames[i]) - (i == 0 && exact ? 0 : 1);
    if (at < start || at >= end) continue;
    used = true;
    places[i] = Place{files[fileCount - 1], at - base, pluginAt(base)};
  }
}

void Stack::locate() {
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char line[PATH_BYTES * 2];
  size_t length = 0;
  char buffer[1024];
  for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
    for (ssize_t i = 0; i < n; ++i) {
      if (buffer[i] != '\n') {
        if (length < sizeof(line) - 1) line[length++] = buffer[i];
        continue;
      }
      line[length] = '\0';
      locateIn(line);
      length = 0;
    }
  }
  close(fd);
  for (size_t i = 0; i < depth && culprit == nullptr; ++i) culprit = places[i].plugin;
}

void Stack::print(int fd) const {
  for (size_t i = 0; i < depth; ++i) {
    auto& place = places[i];
    say(fd, "  ");
    say(fd, place.file == nullptr ? "?" : place.file);
    say(fd, " 0x");
    sayNumber(fd, place.file == nullptr ? reinterpret_cast<uintptr_t>(frames[i]) : place.address,
              16);
    say(fd, "\n");
  }
}

void say(int fd, const char* text) {
  ssize_t ignored = write(fd, text, strlen(text));
  (void)ignored;  // nothing is left to do about it
}

void sayNumber(int fd, uint64_t number, unsigned base) {
  char digits[32];
  char* at = digits + sizeof(digits) - 1;
  *at = '\0';
  do {
    *--at = "0123456789abcdef"[number % base];
    number /= base;
  } while (number > 0);
  say(fd, at);
}

}  // namespace orch::loop
