#include "trees.h"

namespace orch::store::consul {

namespace {

// Where the character that begins at `from` ends.
size_t characterEnd(const std::string& key, size_t from) {
  size_t end = from + 1;
  while (end < key.size() && (static_cast<unsigned char>(key[end]) & 0xc0) == 0x80) ++end;
  return end;
}

struct Cutter {
  const std::vector<std::string>& keys;
  const size_t mostKeys, mostTrees;
  std::vector<Trees> all;
  size_t used = 0;  // keys of the last element

  void add(std::string prefix, size_t count) {
    bool fits = !all.empty() && used + count <= mostKeys && all.back().size() < mostTrees;
    if (!fits) all.emplace_back();
    used = fits ? used + count : count;
    all.back().push_back(std::move(prefix));
  }
  // Those from `from` to before `to`, which have `depth` bytes in common.
  void cut(size_t from, size_t to, size_t depth) {
    bool whole = to - from <= mostKeys || keys[from].size() == depth;
    if (whole) return add(keys[from].substr(0, depth), to - from);
    while (from < to) {
      auto end = characterEnd(keys[from], depth);
      auto next = from + 1;
      while (next < to && keys[next].compare(0, end, keys[from], 0, end) == 0) ++next;
      cut(from, next, end);
      from = next;
    }
  }
};

}  // namespace

std::vector<Trees> treesOf(const std::vector<std::string>& keys, size_t mostKeys,
                           size_t mostTrees) {
  Cutter cutter{keys, mostKeys, mostTrees, {}, 0};
  if (!keys.empty()) cutter.cut(0, keys.size(), 0);
  return std::move(cutter.all);
}

}  // namespace orch::store::consul
