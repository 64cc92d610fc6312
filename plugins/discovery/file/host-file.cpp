#include "host-file.h"

#include <kj/debug.h>

#include "orch/attempt.h"

namespace orch::discovery::file {

namespace {

kj::Maybe<kj::Own<const kj::ReadableFile>> openIfThere(const kj::Directory& root,
                                                       kj::PathPtr path) {
  KJ_IF_MAYBE (info, root.tryLstat(path)) {
    // Opening a pipe would wait for a writer.
    bool readable = info->type == kj::FsNode::Type::FILE || info->type == kj::FsNode::Type::SYMLINK;
    KJ_REQUIRE(readable);
    return root.tryOpenFile(path);
  }
  return nullptr;
}

}  // namespace

HostFile readHostFile(const kj::Filesystem& files, const std::string& path) {
  HostFile result;
  auto read = attemptNow([&] {
    auto opened = openIfThere(files.getRoot(), kj::Path::parse(path.c_str() + 1));
    KJ_IF_MAYBE (file, opened) {
      auto info = (*file)->stat();
      result.stamp = {true, info.size, (info.lastModified - kj::UNIX_EPOCH) / kj::NANOSECONDS,
                      info.hashCode};
      KJ_REQUIRE(info.type == kj::FsNode::Type::FILE && info.size <= MAX_FILE_BYTES);
      auto text = (*file)->readAllText();
      result.text.assign(text.begin(), text.size());
    } else {
      result.problem = "'" + path + "' does not exist";
    }
  });
  if (!read.ok()) {
    result.text.clear();
    result.problem =
        "cannot read '" + path + "'; it must be a file of at most 1 MiB that orchd may read";
  }
  return result;
}

}  // namespace orch::discovery::file
