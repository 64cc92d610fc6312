// Errors that a user reads: one line that says what failed, on which 'object', why and what to do.
#pragma once

#include <kj/exception.h>
#include <kj/string.h>

namespace orch {

// Throws FAILED with exactly this text. For wrong input and for what the outside refuses.
[[noreturn]] void fail(kj::String text);

// The text of an error without what RPC put before it on its way ("remote exception: ").
kj::StringPtr plainText(const kj::Exception& exception);

}  // namespace orch
