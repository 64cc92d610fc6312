// Where images are imported from: an OCI layout, a docker archive (both as a folder, or as a tar
// that is first laid out in the job's folder), or a plain root file system. Blocking; for the
// unpacker.
#pragma once

#include <kj/io.h>

#include <cstdint>
#include <functional>
#include <string>

namespace orch::image::oci {

struct Source {
  enum class Kind { LAYOUT, DOCKER_ARCHIVE, ROOT_TAR, ROOT_FOLDER };
  Kind kind;
  std::string path;  // the folder, or the tar
};

inline constexpr const char* ACCEPTED_SOURCES =
    "accepted are a docker archive, an OCI layout (folder or tar) and a root file system (folder "
    "or tar, also gzip, zstd or xz)";

// Looks what `path` is. An archive of images is laid out in `workFolder`, up to `maxBytes`. Fails
// if it is none of them, with what is accepted.
Source openSource(const std::string& path, const std::string& workFolder, uint64_t maxBytes);

// Fails if it is a layout that lacks one of its two documents: nobody means it as a root file
// system.
void refuseHalfLayout(bool layout, bool index, bool blobs);

// A file within a folder; links that lead out of it are refused. `name` is for the error: "blob
// sha256:…".
kj::AutoCloseFd openWithin(const std::string& folder, const std::string& path,
                           const std::string& name);
// All of a small one. Fails if it has more than `limit` bytes.
std::string readWithin(const std::string& folder, const std::string& path, const std::string& name,
                       uint64_t limit);

// Writes the folder as a tar without compression: owners, modes, times, attributes, hard links and
// devices, not what is mounted in it, and no sockets.
void writeRootTar(const std::string& folder, const std::string& tarPath);

}  // namespace orch::image::oci
