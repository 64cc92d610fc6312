#include "orch/segments/segments.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace orch::segments {

namespace {

constexpr size_t DIGITS = 10;

kj::Maybe<uint64_t> segmentNumber(kj::StringPtr name) {
  if (!name.endsWith(".zst")) return nullptr;
  uint64_t number = 0;
  auto end = name.begin() + name.size() - strlen(".zst");
  auto parsed = std::from_chars(name.begin(), end, number);
  if (parsed.ptr != end || parsed.ec != std::errc()) return nullptr;
  return number;
}

}  // namespace

kj::Path segmentName(uint64_t number) {
  auto digits = kj::str(number);
  auto zeros = kj::heapString(DIGITS - kj::min(DIGITS, digits.size()));
  memset(zeros.begin(), '0', zeros.size());
  return kj::Path(kj::str(zeros, digits, ".zst"));
}

std::vector<uint64_t> segmentNumbers(const kj::ReadableDirectory& directory) {
  std::vector<uint64_t> numbers;
  for (auto& name : directory.listNames()) {
    KJ_IF_MAYBE (number, segmentNumber(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace orch::segments
