// Where a thread of this process is, as files and the addresses in them, and in which plugin. All
// of it may be used in a signal's handler: it takes no lock and no memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace orch::loop {

// A plugin's file was loaded, and `inside` is an address of its code. Its stacks will name `path`.
void notePluginFile(const void* inside, const char* path);

class Stack final {
 public:
  // The calling thread's. In a handler `context` is its third argument: what the handler itself has
  // called is left out.
  void take(void* context);
  // Looks up what `take` has found. Once.
  void locate();
  // The file of the plugin that is nearest to where the thread stands; nothing if it is in none.
  const char* plugin() const { return culprit; }
  // A line for each call, "  FILE 0xADDRESS", as addr2line takes them.
  void print(int fd) const;

 private:
  static constexpr size_t MAX_FRAMES = 64;
  void takeFrames(uintptr_t here, uintptr_t returnsTo, uintptr_t frame);

  void* frames[MAX_FRAMES];
  size_t depth = 0;
  bool exact = false;  // the first frame is where it stands, not where a call returns to
  struct Place {
    const char* file = nullptr;
    uintptr_t address = 0;
  };
  Place places[MAX_FRAMES];
  const char* culprit = nullptr;
};

// Parts of a text on a descriptor, for handlers.
void say(int fd, const char* text);
void sayNumber(int fd, uint64_t number, unsigned base);

}  // namespace orch::loop
