// Reading the event log, in pieces, on a worker.
#include <capnp/serialize.h>

#include "kernel/bus/bus.h"
#include "kernel/bus/event-log.h"
#include "orch/segments/segments.h"

namespace orch::bus {

namespace {

// Most frames are small; one that does not fit into the first window fits into the second, and a
// window that begins with garbage still holds any frame that begins in its first half.
constexpr size_t WINDOWS[] = {128 << 10, 2 * segments::MAX_FRAME_BYTES};

class Reader final {
 public:
  Reader(const kj::Directory& directory, LogPosition from, LogPosition to, const LogFilter& filter)
      : directory(directory), to(to), filter(filter) {
    piece.next = from;
  }

  LogPiece read() {
    for (auto number : segments::segmentNumbers(directory)) {
      if (number < piece.next.segment || number > to.segment) continue;
      if (number > piece.next.segment) piece.next = {number, 0};
      if (piece.next.offset == 0 && isTooOld(number)) continue;
      if (!readSegment(number)) return kj::mv(piece);
    }
    piece.next = to;
    return kj::mv(piece);
  }

 private:
  // All of the segment is older than what is wanted: the next one begins before that.
  bool isTooOld(uint64_t number) {
    if (number >= to.segment) return false;
    KJ_IF_MAYBE (file, directory.tryOpenFile(segments::segmentName(number + 1))) {
      auto bytes = window(**file, 0, (*file)->stat().size, WINDOWS[0]);
      auto frame = segments::nextFrame(bytes, 0);
      if (!frame) return false;
      int64_t first = INT64_MAX;
      segments::eachMessage(frame->content, [&](EventWords words) {
        capnp::FlatArrayMessageReader reader(words);
        first = kj::min(first, reader.getRoot<schema::Event>().getTimeNs());
      });
      return first < filter.sinceNs;
    }
    return false;
  }

  static kj::Array<kj::byte> window(const kj::ReadableFile& file, uint64_t at, uint64_t end,
                                    size_t size) {
    auto bytes =
        kj::heapArray<kj::byte>(at >= end ? 0 : kj::min(static_cast<uint64_t>(size), end - at));
    size_t n = file.read(at, bytes);
    return n == bytes.size() ? kj::mv(bytes) : kj::heapArray<kj::byte>(bytes.slice(0, n));
  }

  // False if the piece is full.
  bool readSegment(uint64_t number) {
    KJ_IF_MAYBE (file, directory.tryOpenFile(segments::segmentName(number))) {
      uint64_t end = (*file)->stat().size;
      if (number == to.segment) end = kj::min(end, to.offset);
      for (size_t size = WINDOWS[0]; piece.next.offset < end;) {
        auto bytes = window(**file, piece.next.offset, end, size);
        bool last = piece.next.offset + bytes.size() >= end;
        auto before = piece.next.offset;
        if (!readFrames(bytes)) return false;
        if (piece.next.offset > before) {
          size = WINDOWS[0];
        } else if (last) {
          damaged(bytes.size());
        } else if (size < WINDOWS[1]) {
          size = WINDOWS[1];
        } else {
          damaged(bytes.size() / 2);
        }
      }
    }
    return true;
  }

  // The intact frames of a window that begins at `piece.next`. False if the piece is full.
  bool readFrames(kj::ArrayPtr<const kj::byte> bytes) {
    auto base = piece.next.offset;
    for (;;) {
      if (size >= EventLog::PIECE_BYTES) return false;
      size_t at = piece.next.offset - base;
      auto frame = segments::nextFrame(bytes, at);
      if (!frame) return true;
      if (frame->begin > at) damaged(frame->begin - at);
      piece.next.offset = base + frame->end;
      segments::eachMessage(frame->content, [this](EventWords words) { take(kj::mv(words)); });
    }
  }

  void take(EventWords words) {
    {
      capnp::FlatArrayMessageReader reader(words);
      auto event = reader.getRoot<schema::Event>();
      piece.lastSequence = kj::max(piece.lastSequence, event.getSequence());
      if (event.getTimeNs() < filter.sinceNs) return;
      if (!Bus::matches(filter.topics, event.getTopic())) return;
    }
    size += words.asBytes().size();
    piece.events.push_back(kj::mv(words));
  }

  void damaged(uint64_t bytes) {
    piece.damages.push_back({piece.next, bytes});
    piece.next.offset += bytes;
  }

  const kj::Directory& directory;
  LogPosition to;
  const LogFilter& filter;
  LogPiece piece;
  size_t size = 0;
};

}  // namespace

kj::Promise<LogPiece> EventLog::read(LogPosition from, LogPosition to, LogFilter filter) {
  auto job = [dir = directory->clone(), from, to, filter = std::move(filter)]() {
    return Reader(*dir, from, to, filter).read();
  };
  return env.workers().run(kj::mv(job));
}

}  // namespace orch::bus
