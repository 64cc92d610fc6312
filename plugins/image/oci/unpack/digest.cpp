#include "unpack/digest.h"

#include <kj/debug.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <vector>

namespace orch::image::oci {

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free};
};

Sha256::Sha256() : state(std::make_unique<State>()) {
  KJ_ASSERT(EVP_DigestInit_ex(state->context.get(), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::add(const void* data, size_t size) {
  KJ_ASSERT(EVP_DigestUpdate(state->context.get(), data, size) == 1);
}

std::string Sha256::digest() {
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  KJ_ASSERT(EVP_DigestFinal_ex(state->context.get(), sum, &size) == 1);
  static constexpr char DIGITS[] = "0123456789abcdef";
  std::string text = "sha256:";
  for (unsigned i = 0; i < size; ++i) {
    text += DIGITS[sum[i] >> 4];
    text += DIGITS[sum[i] & 15];
  }
  return text;
}

std::string sha256(std::string_view text) {
  Sha256 hash;
  hash.add(text.data(), text.size());
  return hash.digest();
}

std::string sha256OfFile(int fd, uint64_t& bytes) {
  Sha256 hash;
  std::vector<char> buffer(256 << 10);
  bytes = 0;
  for (;;) {
    ssize_t n;
    KJ_SYSCALL(n = read(fd, buffer.data(), buffer.size()));
    if (n == 0) return hash.digest();
    hash.add(buffer.data(), n);
    bytes += n;
  }
}

}  // namespace orch::image::oci
