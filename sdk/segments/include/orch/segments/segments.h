// Files of frames in a folder: <number>.zst, counted from 1.
#pragma once

#include <kj/filesystem.h>

#include <vector>

namespace orch::segments {

kj::Path segmentName(uint64_t number);
// The numbers that are there, in order.
std::vector<uint64_t> segmentNumbers(const kj::ReadableDirectory& directory);

}  // namespace orch::segments
