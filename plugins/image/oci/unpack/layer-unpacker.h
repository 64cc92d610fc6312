// One layer, from its bytes to a folder that can be a lower part of an overlay. Pure but for the
// folder: no state, no network. Blocking, and it changes the process's working directory while it
// runs, so it is for the unpacker and for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace orch::image::oci {

struct LayerStats {
  std::string diffId;          // sha256 of the uncompressed tar
  uint64_t tarBytes = 0;       // of the uncompressed tar
  uint64_t unpackedBytes = 0;  // of the files
};

// Reads a tar (plain, gzip, zstd or xz) from the descriptor's position to its end into `folder`,
// which exists and is empty. Whiteouts become overlayfs's own: a character device 0/0, and the
// attribute trusted.overlay.opaque. Refused, by name of the entry: names with '..', links that lead
// out of the folder, entries that go through a symbolic link, more than `maxBytes` of files. After
// a failure the folder holds a part; the caller removes it. `onBytes` is told how far into the
// compressed bytes it is.
LayerStats unpackLayer(int fd, const std::string& folder, uint64_t maxBytes,
                       const std::function<void(uint64_t)>& onBytes);

}  // namespace orch::image::oci
