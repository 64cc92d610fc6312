#include "memory-trimmer.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace orch {

namespace {
constexpr auto INTERVAL = 3 * kj::SECONDS;
// To look costs as much as there are free chunks, 50 ms with the 400 MiB of a state of 350,000
// tasks, and nobody else can do anything meanwhile. So large a heap is left alone, but for its end,
// which goes back at once anyway.
constexpr ptrdiff_t LARGE_HEAP_BYTES = 96 << 20;
// Less than this in free chunks is not worth the system calls.
constexpr size_t WORTH_BYTES = 256 << 10;
// glibc would raise its limits with the first large block that is freed, and keep more from then
// on.
constexpr int LARGE_BLOCK_BYTES = 128 << 10;
// After so many intervals the pages of programs are given back again: what a burst of work needed.
constexpr unsigned PROGRAM_ROUNDS = 5;

// A debugger's breakpoints are in the pages that would be given back.
bool isTraced() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "TracerPid:") {
  }
  return status >> word && word != "0";
}

// Of one program or library: what nobody can have written to. It stays in the page cache, and
// whoever needs it next is given it from there.
int releasePages(dl_phdr_info* object, size_t, void*) {
  const uintptr_t page = sysconf(_SC_PAGESIZE);
  for (unsigned at = 0; at < object->dlpi_phnum; ++at) {
    const auto& segment = object->dlpi_phdr[at];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    uintptr_t end = begin + segment.p_memsz;
    begin &= ~(page - 1);
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 0;
}
}  // namespace

MemoryTrimmer::MemoryTrimmer(kj::Timer& timer)
    : timer(timer), heap(static_cast<char*>(sbrk(0))), trimming(nullptr) {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
  mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES);
  trimming = trim().eagerlyEvaluate(nullptr);
}

kj::Promise<void> MemoryTrimmer::trim() {
  return timer.afterDelay(INTERVAL).then([this]() {
    bool isLarge = static_cast<char*>(sbrk(0)) - heap > LARGE_HEAP_BYTES;
    if (!isLarge && mallinfo2().fordblks > WORTH_BYTES) malloc_trim(0);
    if (rounds++ % PROGRAM_ROUNDS == 0 && !isTraced()) dl_iterate_phdr(releasePages, nullptr);
    return trim();
  });
}

}  // namespace orch
