// What this node knows of a state that others keep: one that is behind it, or another one, is not
// used.
#pragma once

#include <cstdint>
#include <string>

namespace orch::store {

struct KnownState {
  std::string id;  // empty: nothing is known yet
  uint64_t revision = 0;
  uint64_t epoch = 0;

  // Why the state that is there must not be used instead, with `place` as its name and `file` as
  // where this is kept; empty: it may. One without an id: there is none.
  std::string whyNot(const KnownState& there, const std::string& place,
                     const std::string& file) const;
  // True if it knows more than before.
  bool learn(const KnownState& there);

  // Of the file at `path`; nothing is known if there is none, and none is kept of nothing. These
  // two block.
  static KnownState load(const std::string& path);
  void save(const std::string& path) const;
};

}  // namespace orch::store
