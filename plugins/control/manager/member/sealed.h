// What is secret in the cluster's state, or on a manager's disk: encrypted with libsodium's
// secretbox, a random nonce before it.
#pragma once

#include <kj/array.h>
#include <kj/common.h>

namespace orch::control::manager {

// `key`: crypto_secretbox_KEYBYTES.
kj::Array<kj::byte> sealed(kj::ArrayPtr<const kj::byte> key, kj::ArrayPtr<const kj::byte> plain);
// Nothing if it was not encrypted with this key, or was changed since.
kj::Maybe<kj::Array<kj::byte>> unsealed(kj::ArrayPtr<const kj::byte> key,
                                        kj::ArrayPtr<const kj::byte> box);

}  // namespace orch::control::manager
