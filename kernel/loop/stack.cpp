#include "kernel/loop/stack.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <sys/auxv.h>
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
  std::atomic<const link_map*> mapped{nullptr};
  char path[PLUGIN_PATH_BYTES];
};
PluginFile pluginFiles[MAX_PLUGINS];

const char* pluginIn(const link_map* mapped) {
  for (auto& file : pluginFiles) {
    auto known = file.mapped.load(std::memory_order_acquire);
    if (known == nullptr) return nullptr;
    if (known == mapped) return file.path;
  }
  return nullptr;
}

// Unlike dladdr it takes no lock.
const link_map* mappedAt(uintptr_t address) {
  dl_find_object found;
  bool known = _dl_find_object(reinterpret_cast<void*>(address), &found) == 0;
  return known ? found.dlfo_link_map : nullptr;
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

}  // namespace

void notePluginFile(const void* inside, const char* path) {
  static std::mutex mutex;
  auto* mapped = mappedAt(reinterpret_cast<uintptr_t>(inside));
  std::lock_guard guard(mutex);
  if (mapped == nullptr || pluginIn(mapped) != nullptr) return;
  for (auto& file : pluginFiles) {
    if (file.mapped != nullptr) continue;
    strncpy(file.path, path, sizeof(file.path) - 1);
    file.mapped.store(mapped, std::memory_order_release);
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

void Stack::locate() {
  for (size_t i = 0; i < depth; ++i) {
    // What a call returns to may be the next function's first byte.
    auto at = reinterpret_cast<uintptr_t>(frames[i]) - (i == 0 && exact ? 0 : 1);
    auto* mapped = mappedAt(at);
    if (mapped == nullptr) continue;
    auto* plugin = pluginIn(mapped);
    // The program itself has no name there.
    auto* name = mapped->l_name[0] != '\0' ? mapped->l_name
                                           : reinterpret_cast<const char*>(getauxval(AT_EXECFN));
    places[i] = Place{plugin != nullptr ? plugin : name, at - mapped->l_addr};
    if (culprit == nullptr) culprit = plugin;
  }
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
