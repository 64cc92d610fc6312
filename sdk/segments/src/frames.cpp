#include "orch/segments/frames.h"

#include <kj/debug.h>
#include <zstd.h>

#include <cstring>

namespace orch::segments {

namespace {

constexpr int COMPRESSION_LEVEL = 3;
constexpr kj::byte MAGIC[] = {0x28, 0xb5, 0x2f, 0xfd};  // RFC 8878, 3.1.1

kj::Maybe<kj::Array<kj::byte>> unpack(kj::ArrayPtr<const kj::byte> frame) {
  auto size = ZSTD_getFrameContentSize(frame.begin(), frame.size());
  // A damaged length is refused before memory is taken.
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN ||
      size > MAX_FRAME_BYTES) {
    return nullptr;
  }
  auto content = kj::heapArray<kj::byte>(size);
  auto n = ZSTD_decompress(content.begin(), content.size(), frame.begin(), frame.size());
  if (ZSTD_isError(n) || n != size) return nullptr;
  return kj::mv(content);
}

}  // namespace

void addMessage(kj::Vector<kj::byte>& content, kj::ArrayPtr<const capnp::word> message) {
  uint64_t words = message.size();
  content.addAll(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&words), sizeof(words)));
  content.addAll(message.asBytes());
}

kj::Array<kj::byte> packFrame(kj::ArrayPtr<const kj::byte> content) {
  auto out = kj::heapArray<kj::byte>(ZSTD_compressBound(content.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  KJ_DEFER(ZSTD_freeCCtx(context));
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  size_t n = ZSTD_compress2(context, out.begin(), out.size(), content.begin(), content.size());
  KJ_ASSERT(!ZSTD_isError(n), "zstd cannot compress", ZSTD_getErrorName(n));
  return kj::heapArray<kj::byte>(out.begin(), n);
}

std::optional<Frame> nextFrame(kj::ArrayPtr<const kj::byte> bytes, size_t at) {
  while (at < bytes.size()) {
    auto rest = bytes.slice(at, bytes.size());
    auto* found =
        static_cast<const kj::byte*>(memmem(rest.begin(), rest.size(), MAGIC, sizeof(MAGIC)));
    if (found == nullptr) return std::nullopt;
    at = found - bytes.begin();
    rest = bytes.slice(at, bytes.size());
    size_t size = ZSTD_findFrameCompressedSize(rest.begin(), rest.size());
    if (!ZSTD_isError(size)) {
      KJ_IF_MAYBE (content, unpack(rest.slice(0, size))) {
        return Frame{at, at + size, kj::mv(*content)};
      }
    }
    ++at;
  }
  return std::nullopt;
}

void eachMessage(kj::ArrayPtr<const kj::byte> content, kj::FunctionParam<void(MessageWords)> f) {
  for (size_t at = 0; at + sizeof(uint64_t) <= content.size();) {
    uint64_t words;
    memcpy(&words, content.begin() + at, sizeof(words));
    at += sizeof(words);
    if (words > (content.size() - at) / sizeof(capnp::word)) return;
    auto message = kj::heapArray<capnp::word>(words);
    memcpy(message.begin(), content.begin() + at, words * sizeof(capnp::word));
    at += words * sizeof(capnp::word);
    f(kj::mv(message));
  }
}

}  // namespace orch::segments
