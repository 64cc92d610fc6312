#include "spec-difference.h"

#include <capnp/dynamic.h>
#include <kj/vector.h>

#include <map>
#include <string>

#include "display.h"
#include "output.h"
#include "pretty.h"

namespace orch::cli {

namespace {

using Struct = capnp::DynamicStruct::Reader;
using SchemaField = capnp::StructSchema::Field;
using Dynamic = capnp::DynamicValue::Reader;

constexpr size_t MAX_VALUE = 24;  // bytes; of a longer one it is only said that it is another

// Parts that say no more than their fields do, and so are left out of a name.
bool isWrapping(kj::StringPtr name) {
  for (kj::StringPtr known : {"task"_kj, "container"_kj, "resources"_kj, "placement"_kj, "mode"_kj,
                              "replicated"_kj, "endpoint"_kj}) {
    if (name == known) return true;
  }
  return false;
}

kj::String withoutUnit(kj::StringPtr name) {
  for (kj::StringPtr unit : {"Ms"_kj, "Bytes"_kj, "Nanos"_kj}) {
    if (name.endsWith(unit)) return kj::heapString(name.begin(), name.size() - unit.size());
  }
  return kj::str(name);
}

kj::String scalarText(kj::StringPtr field, Dynamic value) {
  switch (value.getType()) {
    case capnp::DynamicValue::TEXT:
      return kj::str(value.as<capnp::Text>());
    case capnp::DynamicValue::INT:
      return amountText(field, value.as<int64_t>());
    case capnp::DynamicValue::UINT:
      return amountText(field, static_cast<int64_t>(value.as<uint64_t>()));
    case capnp::DynamicValue::ENUM:
      return nameOf(value.as<capnp::DynamicEnum>());
    default:
      return kj::str(value);
  }
}

// What an item of a list goes by.
kj::String keyOf(Dynamic item) {
  if (item.getType() == capnp::DynamicValue::TEXT) {
    auto text = item.as<capnp::Text>();
    auto end = text.findFirst('=').orDefault(text.size());
    return end + 1 < text.size() && text[end + 1] != '=' ? kj::heapString(text.begin(), end)
                                                         : kj::str(text);
  }
  if (item.getType() != capnp::DynamicValue::STRUCT) return kj::str(item);
  auto object = item.as<capnp::DynamicStruct>();
  for (auto name : {"key", "name", "target", "service", "kind"}) {
    KJ_IF_MAYBE (field, object.getSchema().findFieldByName(name)) {
      return scalarText("", object.get(*field));
    }
  }
  return toJson(item);
}

class Comparison final {
 public:
  void objects(kj::StringPtr prefix, Struct before, Struct after) {
    for (auto field : after.getSchema().getFields()) {
      bool active = isActive(after, field);
      bool was = isActive(before, field);
      if (!active && !was) continue;
      kj::StringPtr name = field.getProto().getName();
      auto full = isWrapping(name) ? kj::str(prefix) : kj::str(prefix, withoutUnit(name));
      if (active != was) {
        if (active) say(kj::str(prefix.size() > 0 ? prefix : "mode "_kj, name));
        continue;
      }
      values(full, name, before.get(field), after.get(field));
    }
  }
  kj::String text() { return kj::strArray(parts, ", "); }

 private:
  static bool isActive(Struct object, SchemaField field) {
    if (field.getProto().getDiscriminantValue() == capnp::schema::Field::NO_DISCRIMINANT)
      return true;
    KJ_IF_MAYBE (active, object.which()) return *active == field;
    return false;
  }
  void say(kj::String part) { parts.add(kj::mv(part)); }

  void values(kj::StringPtr full, kj::StringPtr name, Dynamic before, Dynamic after) {
    if (after.getType() == capnp::DynamicValue::STRUCT) {
      objects(full.size() == 0 || full.endsWith(".") ? kj::str(full) : kj::str(full, "."),
              before.as<capnp::DynamicStruct>(), after.as<capnp::DynamicStruct>());
    } else if (after.getType() == capnp::DynamicValue::LIST) {
      lists(full, before.as<capnp::DynamicList>(), after.as<capnp::DynamicList>());
    } else if (name == "imageDigest") {
      // Which tag it is stands before it.
      if (scalarText(name, before) != scalarText(name, after)) say(kj::str("the image behind it"));
    } else {
      scalars(full, scalarText(name, before), scalarText(name, after));
    }
  }

  void scalars(kj::StringPtr full, kj::String before, kj::String after) {
    if (before == after) return;
    if (after == "true" || after == "false") return say(kj::str(full, " ", after));
    bool isLong = before.size() > MAX_VALUE || after.size() > MAX_VALUE;
    if (isLong) return say(kj::str(full));
    auto shown = [](kj::StringPtr text) { return text.size() > 0 ? text : "none"_kj; };
    say(kj::str(full, " ", shown(before), " -> ", shown(after)));
  }

  // By key, so that what only moved is not told.
  void lists(kj::StringPtr full, capnp::DynamicList::Reader before,
             capnp::DynamicList::Reader after) {
    std::map<std::string, std::string> old;
    for (auto item : before) old[keyOf(item).cStr()] = toJson(item).cStr();
    kj::Vector<kj::String> changes;
    for (auto item : after) {
      auto key = keyOf(item);
      auto found = old.find(key.cStr());
      if (found == old.end()) {
        changes.add(kj::str("+", key));
      } else {
        if (found->second != toJson(item).cStr()) changes.add(kj::str(key));
        old.erase(found);
      }
    }
    for (auto& gone : old) changes.add(kj::str("-", gone.first.c_str()));
    if (changes.size() > 0) say(kj::str(full, " ", kj::strArray(changes, " ")));
  }

  kj::Vector<kj::String> parts;
};

}  // namespace

kj::String differenceText(schema::ServiceSpec::Reader before, schema::ServiceSpec::Reader after) {
  Comparison comparison;
  comparison.objects("", capnp::toDynamic(before), capnp::toDynamic(after));
  return comparison.text();
}

}  // namespace orch::cli
