// The JSON side of Output, apart from it since the codec is slow to compile.
#include <capnp/compat/json.h>

#include "output.h"

namespace orch::cli {

namespace {

kj::String encode(capnp::DynamicValue::Reader value, capnp::Type type, bool pretty) {
  capnp::JsonCodec codec;
  codec.setPrettyPrint(pretty);
  return codec.encode(value, type);
}

// How many bytes of `text` at `at` are one UTF-8 character; 0 if they are none.
size_t characterAt(kj::ArrayPtr<const char> text, size_t at) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(at);
  size_t length = first < 0x80   ? 1
                  : first < 0xc2 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf5 ? 4
                                 : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  if (first == 0xe0 && byte(at + 1) < 0xa0) return 0;
  if (first == 0xed && byte(at + 1) > 0x9f) return 0;  // surrogates
  if (first == 0xf0 && byte(at + 1) < 0x90) return 0;
  if (first == 0xf4 && byte(at + 1) > 0x8f) return 0;
  return length;
}

}  // namespace

kj::String toJson(capnp::DynamicStruct::Reader value, bool oneLine) {
  return encode(value, value.getSchema(), !oneLine);
}

kj::String toJson(capnp::DynamicList::Reader value) {
  return value.size() == 0 ? kj::str("[]") : encode(value, value.getSchema(), true);
}

bool isUtf8(kj::ArrayPtr<const char> text) {
  for (size_t at = 0; at < text.size();) {
    size_t length = characterAt(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

kj::String jsonText(kj::ArrayPtr<const char> text) {
  static constexpr char HEX[] = "0123456789abcdef";
  kj::Vector<char> out(text.size() + 3);
  out.add('"');
  for (size_t at = 0; at < text.size();) {
    size_t length = characterAt(text, at);
    auto c = static_cast<unsigned char>(text[at]);
    if (length == 0) {
      out.addAll("�"_kj);
      length = 1;
    } else if (c == '"' || c == '\\') {
      out.add('\\');
      out.add(text[at]);
    } else if (c < ' ') {
      out.addAll("\\u00"_kj);
      out.add(HEX[c >> 4]);
      out.add(HEX[c & 15]);
    } else {
      out.addAll(text.slice(at, at + length));
    }
    at += length;
  }
  out.add('"');
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

}  // namespace orch::cli
