// SHA-256 of streams, by OpenSSL, which uses the processor's instructions for it. Only the unpacker
// links it: the plugin itself stays small.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace orch::image::oci {

class Sha256 final {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(const void* data, size_t size);
  // `sha256:…`; ends it.
  std::string digest();

 private:
  struct State;
  std::unique_ptr<State> state;
};

std::string sha256(std::string_view text);
// Of everything from the descriptor's position on; `bytes` is how much that was.
std::string sha256OfFile(int fd, uint64_t& bytes);

}  // namespace orch::image::oci
