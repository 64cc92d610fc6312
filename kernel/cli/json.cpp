// The JSON side of Output, apart from it since the codec is slow to compile.
#include <capnp/compat/json.h>
#include <kj/encoding.h>

#include "output.h"

namespace orch::cli {

namespace {

kj::String encode(capnp::DynamicValue::Reader value, capnp::Type type, bool pretty) {
  capnp::JsonCodec codec;
  codec.setPrettyPrint(pretty);
  return codec.encode(value, type);
}

}  // namespace

kj::String toJson(capnp::DynamicStruct::Reader value, bool oneLine) {
  return encode(value, value.getSchema(), !oneLine);
}

kj::String toJson(capnp::DynamicList::Reader value) {
  return value.size() == 0 ? kj::str("[]") : encode(value, value.getSchema(), true);
}

kj::String jsonText(kj::ArrayPtr<const char> text) {
  auto characters = kj::encodeUtf32(text);
  for (char32_t& character : characters) {
    // KJ replaces all other errors, but keeps surrogates.
    if (character >= 0xd800 && character <= 0xdfff) character = 0xfffd;
  }
  kj::String clean = kj::decodeUtf32(characters);
  return encode(capnp::Text::Reader(clean), capnp::schema::Type::TEXT, false);
}

}  // namespace orch::cli
