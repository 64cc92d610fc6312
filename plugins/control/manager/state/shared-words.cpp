#include "state/shared-words.h"

namespace orch::control::manager {

namespace {
std::string_view contentOf(const capnp::word* words) {
  return {reinterpret_cast<const char*>(words), sizeOf(words) * sizeof(capnp::word)};
}
}  // namespace

const capnp::word* SharedWords::hold(Words words) {
  auto it = byContent.find(contentOf(words.begin()));
  if (it == byContent.end()) {
    auto content = contentOf(words.begin());
    it = byContent.emplace(content, Entry{kj::mv(words)}).first;
  }
  ++it->second.users;
  return it->second.words.begin();
}

void SharedWords::release(const capnp::word* held) {
  if (held == nullptr) return;
  auto it = byContent.find(contentOf(held));
  KJ_ASSERT(it != byContent.end() && it->second.words.begin() == held);
  if (--it->second.users == 0) byContent.erase(it);
}

}  // namespace orch::control::manager
