// What many objects say in the same words is kept once: messages by content, each with the number
// of objects that point to it. Belongs to one State, on the loop's thread.
#pragma once

#include <map>
#include <string_view>

#include "state/object.h"

namespace orch::control::manager {

class SharedWords final {
 public:
  // The same words as they are kept, for one more object. Valid until it lets go of them.
  const capnp::word* hold(Words words);
  // One object less; the last one takes them along. Null is nothing.
  void release(const capnp::word* held);
  // How many different messages there are.
  size_t size() const { return byContent.size(); }

 private:
  struct Entry {
    Words words;
    size_t users = 0;
  };
  std::map<std::string_view, Entry> byContent;  // the keys are the words themselves
};

}  // namespace orch::control::manager
