// The file as it is on the disk at one moment. Blocks.
#pragma once

#include <kj/filesystem.h>

#include <cstdint>
#include <string>

namespace orch::discovery::file {

inline constexpr uint64_t MAX_FILE_BYTES = 1 << 20;

struct HostFile {
  // Of what changes when the file does.
  struct Stamp {
    bool there = false;
    uint64_t bytes = 0;
    int64_t modifiedNs = 0;
    uint64_t identity = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp;
  std::string text;
  std::string problem;  // why there is no text; empty: there is
};

// Never fails. `path` is absolute.
HostFile readHostFile(const kj::Filesystem& files, const std::string& path);

}  // namespace orch::discovery::file
