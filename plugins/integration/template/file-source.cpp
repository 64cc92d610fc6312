#include "file-source.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::integration::templates {

namespace {

struct Stamp {
  uint64_t bytes = 0;
  int64_t modifiedNs = 0;
  uint64_t identity = 0;
  bool operator==(const Stamp&) const = default;
};
struct Looked {
  Stamp stamp;
  std::string text;
  bool read = false;  // not if it is as it was
};

// Blocks.
Looked lookAt(const kj::Filesystem& files, const std::string& path, const Stamp& before) {
  auto parsed = kj::Path::parse(path.c_str() + 1);
  auto& root = files.getRoot();
  Looked looked;
  KJ_IF_MAYBE (info, root.tryLstat(parsed)) {
    // Opening a pipe would wait for a writer.
    bool plain = info->type == kj::FsNode::Type::FILE || info->type == kj::FsNode::Type::SYMLINK;
    if (!plain) fail(kj::str("'", path.c_str(), "' is no file"));
  }
  KJ_IF_MAYBE (file, root.tryOpenFile(parsed)) {
    auto info = (*file)->stat();
    looked.stamp = {info.size, (info.lastModified - kj::UNIX_EPOCH) / kj::NANOSECONDS,
                    info.hashCode};
    if (info.type != kj::FsNode::Type::FILE) fail(kj::str("'", path.c_str(), "' is no file"));
    if (info.size > FileSource::MAX_FILE_BYTES) {
      fail(kj::str("'", path.c_str(), "' has more than 1 MiB"));
    }
    if (looked.stamp == before) return looked;
    auto text = (*file)->readAllText();
    looked.text.assign(text.begin(), text.size());
    looked.read = true;
    return looked;
  }
  fail(kj::str("'", path.c_str(), "' does not exist"));
}

}  // namespace

Task<void> FileSource::follow(Query query, Listener& listener) {
  Stamp before;
  auto& files = env.files();
  for (;;) {
    auto look = [&files, path = query.name, before] { return lookAt(files, path, before); };
    auto looked = co_await attempt(env.workers().run(kj::mv(look)));
    if (!looked.ok()) {
      before = Stamp();
      listener.failed(looked.message());
    } else if (looked.value().read) {
      before = looked.value().stamp;
      listener.answered(Value(std::move(looked.value().text)));
    }
    co_await env.timer().afterDelay(LOOK);
  }
}

}  // namespace orch::integration::templates
