// A heartbeat as a datagram: what an agent sends beside its session, so that no loop and no disk
// delays it. It is good for one session, once, and only from whoever has the session's key.
//
//    0   4  the bytes `OB`, 0x01, 0x00
//    4   8  the session's number; this and the rest big-endian
//   12   8  sequence: higher in each
//   20   4  for how long the node's loop has stood still, in milliseconds
//   24  16  the first half of HMAC-SHA256 of what is before, with the session's key
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

namespace orch::control {

inline constexpr size_t BEAT_BYTES = 40;
using BeatBytes = std::array<uint8_t, BEAT_BYTES>;
using BeatKey = std::array<uint8_t, 32>;

struct Beat {
  uint64_t session = 0;
  uint64_t sequence = 0;
  uint32_t loopLagMs = 0;
};

// For one thread. Without I/O.
class BeatCodec final {
 public:
  BeatCodec();
  ~BeatCodec();

  BeatBytes seal(const BeatKey& key, const Beat& beat);
  // What it says, whoever says it: to look for its session's key. Nothing if it is no beat.
  static std::optional<Beat> read(const uint8_t* bytes, size_t size);
  // Whether who has the key said it. Of bytes that are a beat.
  bool isGenuine(const BeatKey& key, const uint8_t* bytes);

 private:
  struct Mac;
  std::array<uint8_t, 16> tagOf(const BeatKey& key, const uint8_t* bytes);
  std::unique_ptr<Mac> mac;
};

}  // namespace orch::control
