#include "kernel/bus/event-log.h"

#include <capnp/serialize.h>
#include <kj/debug.h>
#include <zstd.h>

#include <charconv>
#include <cstring>

#include "orch/attempt.h"

namespace orch::bus {

namespace {

constexpr int COMPRESSION_LEVEL = 3;
constexpr size_t MAX_FRAME_CONTENT = 16 << 20;  // refuses a damaged length before memory is taken

kj::Path segmentName(uint64_t number) {
  auto digits = kj::str(number);
  auto zeros = kj::heapString(10 - kj::min<size_t>(10, digits.size()));
  memset(zeros.begin(), '0', zeros.size());
  return kj::Path(kj::str(zeros, digits, ".zst"));
}

kj::Maybe<uint64_t> segmentNumber(kj::StringPtr name) {
  if (!name.endsWith(".zst")) return nullptr;
  uint64_t number = 0;
  auto end = name.begin() + name.size() - strlen(".zst");
  auto parsed = std::from_chars(name.begin(), end, number);
  if (parsed.ptr != end || parsed.ec != std::errc()) return nullptr;
  return number;
}

// The sizes of the whole frames at the front of `bytes`, then what is left over.
struct Frames {
  std::vector<size_t> sizes;
  size_t good = 0;
};

Frames wholeFrames(kj::ArrayPtr<const kj::byte> bytes) {
  Frames frames;
  while (frames.good < bytes.size()) {
    auto rest = bytes.slice(frames.good, bytes.size());
    size_t size = ZSTD_findFrameCompressedSize(rest.begin(), rest.size());
    if (ZSTD_isError(size)) break;
    frames.sizes.push_back(size);
    frames.good += size;
  }
  return frames;
}

kj::Maybe<kj::Array<kj::byte>> decompress(kj::ArrayPtr<const kj::byte> frame) {
  auto size = ZSTD_getFrameContentSize(frame.begin(), frame.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN ||
      size > MAX_FRAME_CONTENT)
    return nullptr;
  auto content = kj::heapArray<kj::byte>(size);
  auto n = ZSTD_decompress(content.begin(), content.size(), frame.begin(), frame.size());
  if (ZSTD_isError(n) || n != size) return nullptr;
  return kj::mv(content);
}

// Calls f(EventWords) for each event of a frame's content.
template <typename F>
void eachEvent(kj::ArrayPtr<const kj::byte> content, F&& f) {
  for (size_t at = 0; at + 8 <= content.size();) {
    uint64_t words;
    memcpy(&words, content.begin() + at, 8);
    at += 8;
    if (words > (content.size() - at) / 8) return;
    auto event = kj::heapArray<capnp::word>(words);
    memcpy(event.begin(), content.begin() + at, words * 8);
    at += words * 8;
    f(kj::mv(event));
  }
}

kj::Array<kj::byte> compress(kj::ArrayPtr<const kj::byte> content) {
  auto out = kj::heapArray<kj::byte>(ZSTD_compressBound(content.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  KJ_DEFER(ZSTD_freeCCtx(context));
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  size_t n = ZSTD_compress2(context, out.begin(), out.size(), content.begin(), content.size());
  KJ_ASSERT(!ZSTD_isError(n), "zstd cannot compress", ZSTD_getErrorName(n));
  return kj::heapArray<kj::byte>(out.begin(), n);
}

}  // namespace

EventLog::EventLog(Env& env, kj::PathPtr folder, uint64_t maxBytes)
    : env(env),
      folder(folder.clone()),
      maxBytes(maxBytes),
      writing(kj::Promise<void>(kj::READY_NOW).fork()),
      tasks(*this) {}

Task<uint64_t> EventLog::open() {
  struct Found {
    kj::Own<const kj::Directory> directory;
    uint64_t segment = 1;
    uint64_t size = 0;
    uint64_t last = 0;
    uint64_t cut = 0;
  };
  auto scan = [&files = env.files(), path = folder.clone()]() {
    Found found;
    found.directory = files.getRoot().openSubdir(
        path, kj::WriteMode::CREATE | kj::WriteMode::MODIFY | kj::WriteMode::CREATE_PARENT);
    for (auto& name : found.directory->listNames()) {
      KJ_IF_MAYBE (number, segmentNumber(name)) found.segment = kj::max(found.segment, *number);
    }
    // The newest segment may hold nothing yet: then the last sequence is in the one before.
    for (uint64_t number = found.segment; number > 0 && found.last == 0; --number) {
      auto opened = found.directory->tryOpenFile(segmentName(number), kj::WriteMode::MODIFY);
      if (opened == nullptr) {
        if (number == found.segment) continue;
        break;
      }
      auto& file = *KJ_ASSERT_NONNULL(opened);
      auto bytes = file.readAllBytes();
      auto frames = wholeFrames(bytes);
      if (number == found.segment) {
        found.cut = bytes.size() - frames.good;
        if (found.cut > 0) file.truncate(frames.good);
        found.size = frames.good;
      }
      size_t at = 0;
      for (size_t size : frames.sizes) {
        KJ_IF_MAYBE (content, decompress(bytes.slice(at, at + size))) {
          eachEvent(*content, [&](EventWords words) {
            capnp::FlatArrayMessageReader reader(words);
            found.last = kj::max(found.last, reader.getRoot<schema::Event>().getSequence());
          });
        }
        at += size;
      }
    }
    return found;
  };
  auto found = co_await env.workers().run(kj::mv(scan));
  directory = kj::mv(found.directory);
  segment = found.segment;
  segmentSize = found.size;
  last = found.last;
  co_return found.cut;
}

void EventLog::append(kj::ArrayPtr<const capnp::word> event, uint64_t sequence) {
  last = sequence;
  uint64_t words = event.size();
  frame.addAll(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&words), 8));
  frame.addAll(event.asBytes());
  if (frame.size() >= FRAME_BYTES) {
    tasks.add(write());
  } else if (!timerSet) {
    timerSet = true;
    tasks.add(flushLater());
  }
}

Task<void> EventLog::flushLater() {
  co_await env.timer().afterDelay(FRAME_MS * kj::MILLISECONDS);
  timerSet = false;
  co_await write();
}

Task<void> EventLog::flush() { co_await write(); }

// Frames are written one after the other, in the order of their events.
kj::Promise<void> EventLog::write() {
  if (frame.size() == 0 || directory.get() == nullptr) return writing.addBranch();
  auto content = frame.releaseAsArray();
  writing =
      writing.addBranch()
          .then([this, content = kj::mv(content)]() mutable {
            if (segmentSize >= SEGMENT_BYTES) {
              ++segment;
              segmentSize = 0;
            }
            uint64_t keep = kj::max<uint64_t>(1, maxBytes / SEGMENT_BYTES);
            auto job = [&dir = *directory, number = segment, at = segmentSize, keep,
                        content = kj::mv(content)]() {
              auto packed = compress(content);
              auto file =
                  dir.openFile(segmentName(number), kj::WriteMode::CREATE | kj::WriteMode::MODIFY);
              file->write(at, packed);
              if (number > keep) dir.tryRemove(segmentName(number - keep));
              return packed.size();
            };
            return env.workers().run(kj::mv(job)).then([this](size_t n) { segmentSize += n; });
          })
          .fork();
  return writing.addBranch();
}

Task<std::vector<kj::Array<EventWords>>> EventLog::read(int64_t sinceNs) {
  co_await flush();
  auto job = [&dir = *directory, sinceNs]() {
    std::vector<kj::Array<EventWords>> batches;
    for (auto& name : dir.listNames()) {
      if (segmentNumber(name) == nullptr) continue;
      auto bytes = dir.openFile(kj::Path(kj::str(name)))->readAllBytes();
      size_t at = 0;
      for (size_t size : wholeFrames(bytes).sizes) {
        kj::Vector<EventWords> batch;
        KJ_IF_MAYBE (content, decompress(bytes.slice(at, at + size))) {
          eachEvent(*content, [&](EventWords words) {
            capnp::FlatArrayMessageReader reader(words);
            if (reader.getRoot<schema::Event>().getTimeNs() >= sinceNs) batch.add(kj::mv(words));
          });
        }
        at += size;
        if (batch.size() > 0) batches.push_back(batch.releaseAsArray());
      }
    }
    return batches;
  };
  co_return co_await env.workers().run(kj::mv(job));
}

void EventLog::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "events.log-write-failed: events of the last second are not on disk", exception);
  writing = kj::Promise<void>(kj::READY_NOW).fork();
}

}  // namespace orch::bus
