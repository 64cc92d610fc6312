#include "orch/json/json.h"

#include <capnp/compat/json.h>
#include <kj/debug.h>
#include <kj/encoding.h>
#include <time.h>

#include <cstdio>
#include <type_traits>

namespace orch {

namespace {

// The codec's own rule makes texts of all 64-bit numbers, as JavaScript has no such integers.
template <typename T>
class WholeNumbers final : public capnp::JsonCodec::Handler<T> {
 public:
  void encode(const capnp::JsonCodec&, T input, capnp::JsonValue::Builder output) const override {
    constexpr T LARGEST = (T(1) << 53) - 1;
    bool fits = input <= LARGEST && (std::is_unsigned_v<T> || input >= T(0) - LARGEST);
    if (fits) {
      output.setNumber(static_cast<double>(input));
    } else {
      output.setString(kj::str(input));
    }
  }
  T decode(const capnp::JsonCodec&, capnp::JsonValue::Reader) const override {
    KJ_UNIMPLEMENTED("only written");
  }
};

kj::String encode(capnp::DynamicValue::Reader value, capnp::Type type, bool pretty) {
  capnp::JsonCodec codec;
  WholeNumbers<int64_t> withSign;
  WholeNumbers<uint64_t> withoutSign;
  codec.addTypeHandler(withSign);
  codec.addTypeHandler(withoutSign);
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

kj::String toJson(capnp::DynamicValue::Reader value) {
  using Dynamic = capnp::DynamicValue;
  switch (value.getType()) {
    case Dynamic::STRUCT:
      return encode(value, value.as<capnp::DynamicStruct>().getSchema(), false);
    case Dynamic::LIST:
      return encode(value, value.as<capnp::DynamicList>().getSchema(), false);
    case Dynamic::TEXT:
      return jsonText(value.as<capnp::Text>());
    case Dynamic::ENUM:
      return jsonText(kj::str(value.as<capnp::DynamicEnum>()));
    case Dynamic::VOID:
      return kj::str("null");
    case Dynamic::INT:
      return encode(value, capnp::schema::Type::INT64, false);
    case Dynamic::UINT:
      return encode(value, capnp::schema::Type::UINT64, false);
    default:
      return kj::str(value);  // true, false and numbers with a fraction
  }
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

kj::String jsonArray(kj::ArrayPtr<const kj::String> items) {
  return kj::str("[", kj::strArray(items, ",\n"), "]");
}

kj::String timestamp(int64_t ns) {
  time_t seconds = ns / 1'000'000'000;
  struct tm parts;
  gmtime_r(&seconds, &parts);
  char date[32];
  strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
  char text[64];
  snprintf(text, sizeof(text), "%s.%09lldZ", date, static_cast<long long>(ns % 1'000'000'000));
  return kj::str(text);
}

kj::String logLineJson(schema::LogLine::Reader line, kj::ArrayPtr<const char> text) {
  bool errors = line.getStream() == schema::LogLine::Stream::STDERR;
  return kj::str("{\"time\": \"", timestamp(line.getTimeNs()), "\", \"stream\": \"",
                 errors ? "stderr" : "stdout", "\", \"taskId\": ", jsonText(line.getTaskId()),
                 ", \"taskName\": ", jsonText(line.getTaskName()),
                 ", \"nodeId\": ", jsonText(line.getNodeId()), ", \"text\": ", jsonText(text), "}");
}

}  // namespace orch
