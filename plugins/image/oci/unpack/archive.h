// libarchive's handle, owned.
#pragma once

#include <archive.h>
#include <kj/string.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace orch::image::oci {

inline constexpr size_t BLOCK = 256 << 10;  // bytes that are read at once

struct ArchiveFree {
  void operator()(struct archive* archive) const { archive_free(archive); }
};
using Archive = std::unique_ptr<struct archive, ArchiveFree>;

// Why the last call on it failed. Of a full disk libarchive itself says "Write failed" only.
inline kj::String reasonOf(struct archive* archive) {
  int error = archive_errno(archive);
  if (error == ENOSPC || error == EDQUOT) return kj::str(strerror(error));
  const char* text = archive_error_string(archive);
  return text == nullptr ? kj::str("unknown error") : kj::str(text);
}

}  // namespace orch::image::oci
