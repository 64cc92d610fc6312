// consul-template's functions that read and write other notations.
#include <kj/encoding.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "language/functions.h"
#include "language/json.h"
#include "language/notations.h"
#include "language/rendering.h"

namespace orch::integration::templates {

namespace {

Value parseJSON(Call& call) {
  if (call.text(0).empty()) return Value::Map();
  call.rendering.charge(call.text(0).size());
  std::string problem;
  auto value = parseJson(call.text(0), problem);
  if (!problem.empty()) call.wrong(problem);
  return value;
}

Value toJSON(Call& call) { return jsonText(call.arguments[0], {false, true}); }
Value toJSONPretty(Call& call) { return jsonText(call.arguments[0], {true, true}); }
Value toUnescapedJSON(Call& call) { return jsonText(call.arguments[0], {false, false}); }
Value toUnescapedJSONPretty(Call& call) { return jsonText(call.arguments[0], {true, false}); }

Value toYAML(Call& call) { return yamlText(call.arguments[0]); }
Value toTOML(Call& call) {
  std::string problem;
  auto text = tomlText(call.arguments[0], problem);
  if (!problem.empty()) call.wrong(problem);
  return text;
}

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

std::string base64(const std::string& text) { return kj::encodeBase64(bytesOf(text)).cStr(); }
std::string exchanged(std::string text, char a, char b, char withA, char withB) {
  for (auto& c : text) c = c == a ? withA : c == b ? withB : c;
  return text;
}
Value decoded(Call& call, const std::string& text) {
  auto bytes = kj::decodeBase64(kj::arrayPtr(text.data(), text.size()));
  bool whole = text.size() % 4 == 0;
  if (bytes.hadErrors || !whole) call.wrong("'" + call.text(0) + "' is no base64");
  return std::string(bytes.asChars().begin(), bytes.size());
}

Value base64Encode(Call& call) { return base64(call.text(0)); }
Value base64Decode(Call& call) { return decoded(call, call.text(0)); }
Value base64URLEncode(Call& call) { return exchanged(base64(call.text(0)), '+', '/', '-', '_'); }
Value base64URLDecode(Call& call) {
  return decoded(call, exchanged(call.text(0), '-', '_', '+', '/'));
}

std::string hexOf(const unsigned char* bytes, unsigned size) {
  return kj::encodeHex(kj::arrayPtr(bytes, size)).cStr();
}
std::string digest(Call& call, const EVP_MD* method, const std::string& text) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), bytes, &size, method, nullptr) != 1) {
    call.wrong("OpenSSL does not compute this digest");
  }
  return hexOf(bytes, size);
}
Value sha256Hex(Call& call) { return digest(call, EVP_sha256(), call.text(0)); }
Value md5sum(Call& call) { return digest(call, EVP_md5(), call.text(0)); }
Value hmacSHA256Hex(Call& call) {
  auto& message = call.text(0);
  auto& key = call.text(1);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(message.data()), message.size(), bytes, &size);
  return hexOf(bytes, size);
}

constexpr Function ENCODING_FUNCTIONS[] = {
    {"parseJSON", "s", parseJSON},
    {"toJSON", "a", toJSON},
    {"toJSONPretty", "a", toJSONPretty},
    {"toUnescapedJSON", "a", toUnescapedJSON},
    {"toUnescapedJSONPretty", "a", toUnescapedJSONPretty},
    {"toYAML", "a", toYAML},
    {"toTOML", "a", toTOML},
    {"base64Encode", "s", base64Encode},
    {"base64Decode", "s", base64Decode},
    {"base64URLEncode", "s", base64URLEncode},
    {"base64URLDecode", "s", base64URLDecode},
    {"sha256Hex", "s", sha256Hex},
    {"md5sum", "s", md5sum},
    {"hmacSHA256Hex", "ss", hmacSHA256Hex},
};

}  // namespace

FunctionTable encodingFunctions() { return ENCODING_FUNCTIONS; }

}  // namespace orch::integration::templates
