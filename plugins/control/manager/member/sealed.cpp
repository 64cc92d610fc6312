#include "member/sealed.h"

#include <kj/debug.h>
#include <sodium.h>

namespace orch::control::manager {

namespace {
constexpr size_t BESIDE = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;
}

kj::Array<kj::byte> sealed(kj::ArrayPtr<const kj::byte> key, kj::ArrayPtr<const kj::byte> plain) {
  KJ_REQUIRE(sodium_init() >= 0, "libsodium does not work here");
  KJ_REQUIRE(key.size() == crypto_secretbox_KEYBYTES, "a key of another length");
  auto box = kj::heapArray<kj::byte>(BESIDE + plain.size());
  randombytes_buf(box.begin(), crypto_secretbox_NONCEBYTES);
  crypto_secretbox_easy(box.begin() + crypto_secretbox_NONCEBYTES, plain.begin(), plain.size(),
                        box.begin(), key.begin());
  return box;
}

kj::Maybe<kj::Array<kj::byte>> unsealed(kj::ArrayPtr<const kj::byte> key,
                                        kj::ArrayPtr<const kj::byte> box) {
  if (key.size() != crypto_secretbox_KEYBYTES || box.size() < BESIDE) return nullptr;
  auto plain = kj::heapArray<kj::byte>(box.size() - BESIDE);
  auto* from = box.begin() + crypto_secretbox_NONCEBYTES;
  int opened = crypto_secretbox_open_easy(
      plain.begin(), from, box.size() - crypto_secretbox_NONCEBYTES, box.begin(), key.begin());
  if (opened != 0) return nullptr;
  return kj::mv(plain);
}

}  // namespace orch::control::manager
