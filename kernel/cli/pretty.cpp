#include "pretty.h"

#include <kj/vector.h>

#include <cctype>

#include "human.h"
#include "orch/amounts.h"
#include "orch/generic-resources.h"

namespace orch::cli {

namespace {

constexpr unsigned INDENT = 2;

// `stopGraceMs` is `Stop grace`.
kj::String label(kj::StringPtr name) {
  for (kj::StringPtr unit : {"Ns"_kj, "Ms"_kj, "Bytes"_kj, "Nanos"_kj}) {
    if (name.endsWith(unit) && name.size() > unit.size()) {
      return label(kj::heapString(name.begin(), name.size() - unit.size()));
    }
  }
  kj::Vector<char> out;
  for (char c : name) {
    bool capital = c >= 'A' && c <= 'Z';
    if (capital) out.add(' ');
    out.add(static_cast<char>(capital ? c | 0x20 : c));
  }
  out.add('\0');
  return capitalized(kj::String(out.releaseAsArray()));
}

class PrettyPrinter {
 public:
  void object(capnp::DynamicStruct::Reader value, unsigned depth) {
    for (auto field : value.getSchema().getFields()) {
      if (field.getProto().getDiscriminantValue() != capnp::schema::Field::NO_DISCRIMINANT) {
        KJ_IF_MAYBE (active, value.which()) {
          if (*active != field) continue;
        }
      }
      if (value.has(field)) entry(field.getProto().getName(), value.get(field), depth);
    }
  }
  kj::String finish() {
    out.add('\0');
    return kj::String(out.releaseAsArray());
  }

 private:
  void line(unsigned depth, kj::StringPtr name, kj::StringPtr text) {
    for (unsigned i = 0; i < depth * INDENT; ++i) out.add(' ');
    out.addAll(name);
    out.add(':');
    if (text.size() > 0) out.add(' ');
    for (char c : text) out.add(static_cast<unsigned char>(c) < ' ' ? ' ' : c);
    out.add('\n');
  }

  void entry(kj::StringPtr name, capnp::DynamicValue::Reader value, unsigned depth) {
    switch (value.getType()) {
      case capnp::DynamicValue::TEXT:
        if (value.as<capnp::Text>().size() > 0) line(depth, label(name), value.as<capnp::Text>());
        break;
      case capnp::DynamicValue::BOOL:
        if (value.as<bool>()) line(depth, label(name), "yes");
        break;
      case capnp::DynamicValue::INT:
        // Below zero a duration stands for a rule of its own, which is in the schema.
        if (value.as<int64_t>() == 0 || (value.as<int64_t>() < 0 && name.endsWith("Ms"))) break;
        line(depth, label(name), amountText(name, value.as<int64_t>()));
        break;
      case capnp::DynamicValue::UINT:
        if (value.as<uint64_t>() == 0) break;
        line(depth, label(name), amountText(name, static_cast<int64_t>(value.as<uint64_t>())));
        break;
      case capnp::DynamicValue::FLOAT:
        if (value.as<double>() != 0) line(depth, label(name), kj::str(value.as<double>()));
        break;
      case capnp::DynamicValue::VOID:
        line(depth, label(name), "yes");
        break;
      case capnp::DynamicValue::ENUM:
        line(depth, label(name), kj::str(value.as<capnp::DynamicEnum>()));
        break;
      case capnp::DynamicValue::STRUCT:
        line(depth, label(name), "");
        object(value.as<capnp::DynamicStruct>(), depth + 1);
        break;
      case capnp::DynamicValue::LIST:
        list(name, value.as<capnp::DynamicList>(), depth);
        break;
      default:
        break;
    }
  }

  void list(kj::StringPtr name, capnp::DynamicList::Reader values, unsigned depth) {
    if (values.size() == 0) return;
    if (values[0].getType() != capnp::DynamicValue::STRUCT) {
      auto texts = KJ_MAP(value, values) { return kj::str(value); };
      for (auto& text : texts) {
        // A text is printed as in a schema, in quotes.
        if (text.size() >= 2 && text[0] == '"' && text.findFirst('\\') == nullptr) {
          text = kj::heapString(text.begin() + 1, text.size() - 2);
        }
      }
      line(depth, label(name), kj::strArray(texts, ", "));
      return;
    }
    for (auto value : values) {
      auto one = value.as<capnp::DynamicStruct>();
      KJ_IF_MAYBE (key, one.getSchema().findFieldByName("key")) {
        line(depth, label(name),
             kj::str(one.get(*key).as<capnp::Text>(), "=", one.get("value").as<capnp::Text>()));
      } else if (one.getSchema() == capnp::Schema::from<schema::GenericResource>()) {
        line(depth, label(name), resourceText(one.as<schema::GenericResource>()));
      } else {
        line(depth, label(name), "");
        object(one, depth + 1);
      }
    }
  }

  kj::Vector<char> out;
};

}  // namespace

kj::String amountText(kj::StringPtr name, int64_t value) {
  bool positive = value > 0;
  if (positive && name.endsWith("Ns")) return timestamp(value);
  if (positive && name.endsWith("Ms")) return durationText(static_cast<uint64_t>(value));
  if (positive && name.endsWith("Bytes")) return binarySize(static_cast<uint64_t>(value));
  if (positive && name.endsWith("Nanos")) return kj::str(static_cast<double>(value) / 1e9);
  return kj::str(value);
}

kj::String pretty(capnp::DynamicStruct::Reader value) {
  PrettyPrinter printer;
  printer.object(value, 0);
  return printer.finish();
}

}  // namespace orch::cli
