// Errors that a user reads: one line that says what failed, on which 'object', why and what to do.
#pragma once

#include <kj/exception.h>
#include <kj/string.h>

namespace orch {

// Throws FAILED with exactly this text. For wrong input and for what the outside refuses.
[[noreturn]] void fail(kj::String text);

// The text of an error for those who do not know its source: without what RPC put before it on its
// way ("remote exception: "), the condition of a KJ_REQUIRE that has a text of its own, and
// "std::exception: ".
kj::StringPtr plainText(const kj::Exception& exception);

}  // namespace orch
