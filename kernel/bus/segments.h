// The files of the event log: <number>.zst, counted from 1.
#pragma once

#include <kj/filesystem.h>

#include <vector>

namespace orch::bus {

kj::Path segmentName(uint64_t number);
// The numbers that are there, in order.
std::vector<uint64_t> segmentNumbers(const kj::Directory& directory);

}  // namespace orch::bus
