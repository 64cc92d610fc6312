#include "journal/journal-reader.h"

#include "orch/segments/segments.h"

namespace orch::control::manager {

namespace {
struct Part {
  std::vector<segments::MessageWords> messages;
  uint64_t segment = 0;
  uint64_t offset = 0;
};

// A frame that begins in its first half is whole.
constexpr size_t WINDOW = 2 * segments::MAX_FRAME_BYTES;

// The next frames of a file, as many as are in a window. False: there are no more in it.
bool readFile(const kj::ReadableFile& file, Part& part) {
  auto window = kj::heapArray<kj::byte>(WINDOW);
  for (;;) {
    auto bytes = window.slice(0, file.read(part.offset, window));
    size_t at = 0;
    for (auto frame = segments::nextFrame(bytes, at); frame;
         frame = segments::nextFrame(bytes, at)) {
      at = frame->end;
      segments::eachMessage(frame->content,
                            [&](auto words) { part.messages.push_back(kj::mv(words)); });
    }
    part.offset += at > 0 ? at : bytes.size() / 2;
    if (!part.messages.empty()) return true;
    if (bytes.size() < WINDOW) return false;
  }
}

Part read(const kj::Filesystem& files, kj::PathPtr folder, uint64_t segment, uint64_t offset) {
  Part part{{}, segment, offset};
  KJ_IF_MAYBE (directory, files.getRoot().tryOpenSubdir(folder)) {
    for (auto number : segments::segmentNumbers(**directory)) {
      if (number < part.segment) continue;
      if (number > part.segment) part.offset = 0;
      part.segment = number;
      KJ_IF_MAYBE (file, (*directory)->tryOpenFile(segments::segmentName(number))) {
        if (readFile(**file, part)) return part;
      }
    }
  }
  return part;
}
}  // namespace

Task<std::vector<segments::MessageWords>> JournalReader::next() {
  auto work = [&files = env.files(), folder = folder.clone(), segment = segment,
               offset = offset]() { return read(files, folder, segment, offset); };
  auto part = co_await env.workers().run(kj::mv(work));
  segment = part.segment;
  offset = part.offset;
  co_return kj::mv(part.messages);
}

}  // namespace orch::control::manager
