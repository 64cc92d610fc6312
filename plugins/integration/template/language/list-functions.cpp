// consul-template's functions on lists and maps.
#include <algorithm>

#include "language/format.h"
#include "language/numbers.h"
#include "language/rendering.h"

namespace orch::integration::templates {

namespace {

// The text that a struct has in this field; empty: none.
std::string textField(const Value& of, std::string_view name) {
  auto* found = of.is(Value::Kind::STRUCT) ? of.fields().find(name) : nullptr;
  return found != nullptr && found->is(Value::Kind::STRING) ? found->text() : std::string();
}

const Value& fieldOf(Call& call, const Value& of, std::string_view name) {
  auto* found = of.is(Value::Kind::STRUCT) ? of.fields().find(name) : nullptr;
  if (found == nullptr) {
    call.wrong(std::string("a list of services is wanted, not of ") + of.typeName());
  }
  return *found;
}

// Lists that are still being filled.
using Groups = std::map<Value::Key, std::vector<Value>>;
Value mapOf(Groups groups) {
  Value::Map map;
  map.none = Value::list({});
  for (auto& [key, items] : groups) map.entries[key] = Value::list(std::move(items));
  return map;
}

Value byTag(Call& call) {
  Groups groups;
  for (auto& service : call.arguments[0].items().items) {
    for (auto& tag : fieldOf(call, service, "Tags").items().items) {
      groups[tag.text()].push_back(service);
    }
  }
  return mapOf(std::move(groups));
}

Value byPort(Call& call) {
  Groups groups;
  for (auto& service : call.arguments[0].items().items) {
    groups[fieldOf(call, service, "Port").asInteger()].push_back(service);
  }
  return mapOf(std::move(groups));
}

// What stands for a service under one key of its meta data: `shard|int` is a number of five digits.
std::string metaPart(Call& call, const Value::Map& meta, std::string_view key) {
  bool number = key.ends_with("|int");
  if (number) key.remove_suffix(4);
  auto* found = meta.find(key);
  std::string value = found != nullptr ? printed(*found) : "";
  if (number) {
    auto whole = integerIn(value.empty() ? "0" : value);
    if (!whole) call.wrong("'" + value + "' is no whole number");
    Value format[] = {Value(*whole)};
    value = printFormat("%05d", format);
  } else if (value.empty()) {
    value = "_no_" + std::string(key) + "_";
  }
  for (auto& c : value) {
    auto small = static_cast<char>(c | 0x20);
    bool kept = c == '_' || c == '-' || (c >= '0' && c <= '9') || (small >= 'a' && small <= 'z');
    if (!kept) c = '_';
  }
  return value;
}

Value byMeta(Call& call) {
  Groups groups;
  for (auto& service : call.arguments[1].items().items) {
    auto& meta = fieldOf(call, service, "ServiceMeta").map();
    std::string_view keys = call.text(0);
    std::string group;
    for (;;) {
      auto comma = keys.find(',');
      group += metaPart(call, meta, keys.substr(0, comma));
      if (comma == std::string_view::npos) break;
      group += '_';
      keys.remove_prefix(comma + 1);
    }
    groups[group].push_back(service);
  }
  return mapOf(std::move(groups));
}

// The pair with another key, as it is below a folder.
Value renamed(const Value& pair, const std::string& key) {
  Value::Struct copy = pair.fields();
  for (auto& [name, value] : copy.fields) {
    if (std::string_view(name) == "Key") value = key;
  }
  return copy;
}

Value byKey(Call& call) {
  std::map<std::string, Value::Map> folders;
  for (auto& pair : call.arguments[0].items().items) {
    auto key = textField(pair, "Key");
    auto slash = key.find('/');
    if (slash == std::string::npos || slash + 1 == key.size()) continue;
    auto below = key.substr(slash + 1);
    folders[key.substr(0, slash)].entries[below] = renamed(pair, below);
  }
  Value::Map map;
  map.none = Value(Value::Map());
  for (auto& [name, entries] : folders) map.entries[name] = std::move(entries);
  return map;
}

// A tree of maps that is still being made.
struct Folder {
  std::map<std::string, Folder> folders;
  std::map<std::string, Value> values;

  void put(Call& call, std::string_view path, const Value& value) {
    // Of folders in each other: what walks through them takes some of the stack for each.
    constexpr int MOST_FOLDERS = 100;
    Folder* at = this;
    auto rest = path;
    for (int depth = 0;; ++depth) {
      auto slash = rest.find('/');
      auto name = std::string(rest.substr(0, slash));
      if (slash == std::string_view::npos) {
        if (!name.empty() && at->folders.count(name) > 0) at->folders.erase(name);
        if (!name.empty()) at->values[name] = value;
        return;
      }
      if (at->values.count(name) > 0 || depth == MOST_FOLDERS) {
        call.wrong("'" + std::string(path) + "' cannot be below '" + name + "', which has a value");
      }
      at = &at->folders[name];
      rest.remove_prefix(slash + 1);
    }
  }
  Value value() const {
    Value::Map map;
    for (auto& [name, one] : values) map.entries[name] = one;
    for (auto& [name, one] : folders) map.entries[name] = one.value();
    return map;
  }
};

Value explode(Call& call) {
  Folder root;
  for (auto& pair : call.arguments[0].items().items) {
    root.put(call, textField(pair, "Key"), fieldOf(call, pair, "Value"));
  }
  return root.value();
}

Value explodeMap(Call& call) {
  Folder root;
  for (auto& [key, value] : call.arguments[0].map().entries) {
    auto* name = std::get_if<std::string>(&key);
    if (name == nullptr) call.wrong("the keys of the map have to be texts");
    root.put(call, *name, value);
  }
  return root.value();
}

Value merged(const Value& into, const Value& from, bool overrides) {
  Value::Map map = into.map();
  for (auto& [key, value] : from.map().entries) {
    auto& place = map.entries[key];
    bool both = place.is(Value::Kind::MAP) && value.is(Value::Kind::MAP);
    bool replaces = !place.isTrue() || (overrides && value.isTrue());
    if (both) {
      place = merged(place, value, overrides);
    } else if (replaces) {
      place = value;
    }
  }
  return map;
}
Value mergeMap(Call& call) { return merged(call.arguments[0], call.arguments[1], false); }
Value mergeMapWithOverride(Call& call) {
  return merged(call.arguments[0], call.arguments[1], true);
}

Value in(Call& call) { return isIn(call.arguments[0], call.arguments[1]); }
Value contains(Call& call) { return isIn(call.arguments[1], call.arguments[0]); }

size_t countIn(Call& call) {
  auto& needles = call.arguments[0].items().items;
  return static_cast<size_t>(std::count_if(needles.begin(), needles.end(), [&](auto& needle) {
    return isIn(call.arguments[1], needle);
  }));
}
Value containsAll(Call& call) { return countIn(call) == call.arguments[0].items().items.size(); }
Value containsAny(Call& call) { return countIn(call) > 0; }
Value containsNone(Call& call) { return countIn(call) == 0; }
Value containsNotAll(Call& call) { return countIn(call) < call.arguments[0].items().items.size(); }

class Scratch final : public Object {
 public:
  Value method(std::string_view name, Call& call) override {
    auto& pad = *this;
    if (name == "Key") return checked(call, 1), pad.values.count(call.text(0)) > 0;
    if (name == "Get") return checked(call, 1), pad.get(call.text(0));
    if (name == "Set") return checked(call, 2), pad.set(call, true);
    if (name == "SetX") return checked(call, 2), pad.set(call, false);
    if (name == "MapSet") return checked(call, 3), pad.mapSet(call, true);
    if (name == "MapSetX") return checked(call, 3), pad.mapSet(call, false);
    if (name == "MapValues") return checked(call, 1), pad.mapValues(call);
    call.wrong("scratch has Key, Get, Set, SetX, MapSet, MapSetX and MapValues only");
  }

 private:
  // So many arguments, of which all that are keys are texts.
  static void checked(Call& call, size_t count) {
    if (call.size() != count) {
      call.wrong(std::to_string(count) + " arguments are wanted, not " +
                 std::to_string(call.size()));
    }
    for (size_t i = 0; i < std::max<size_t>(count - 1, 1); ++i) {
      if (!call.arguments[i].is(Value::Kind::STRING)) call.wrong("a key is a text");
    }
  }
  Value get(const std::string& key) {
    auto found = values.find(key);
    return found == values.end() ? Value() : found->second;
  }
  Value set(Call& call, bool replaces) {
    if (replaces || values.count(call.text(0)) == 0) values[call.text(0)] = call.arguments[1];
    return "";
  }
  Value mapSet(Call& call, bool replaces) {
    Value::Map map;
    auto held = get(call.text(0));
    if (!held.isNil()) {
      if (!held.is(Value::Kind::MAP)) call.wrong("'" + call.text(0) + "' is no map");
      map = held.map();
    }
    call.rendering.charge(map.entries.size());
    if (replaces || map.find(call.text(1)) == nullptr) {
      map.entries[call.text(1)] = call.arguments[2];
    }
    Value value(std::move(map));
    call.rendering.checkDepth(value);
    values[call.text(0)] = std::move(value);
    return "";
  }
  Value mapValues(Call& call) {
    auto held = get(call.text(0));
    if (held.isNil()) return Value::list({});
    if (!held.is(Value::Kind::MAP)) call.wrong("'" + call.text(0) + "' is no map");
    std::vector<Value> items;
    for (auto& [key, value] : held.map().entries) items.push_back(value);
    return Value::list(std::move(items));
  }

  std::map<std::string, Value> values;
};

constexpr Function LIST_FUNCTIONS[] = {
    {"byTag", "l", byTag},
    {"byPort", "l", byPort},
    {"byMeta", "sl", byMeta},
    {"byKey", "l", byKey},
    {"explode", "l", explode},
    {"explodeMap", "m", explodeMap},
    {"mergeMap", "mm", mergeMap},
    {"mergeMapWithOverride", "mm", mergeMapWithOverride},
    {"in", "aa", in},
    {"contains", "aa", contains},
    {"containsAll", "la", containsAll},
    {"containsAny", "la", containsAny},
    {"containsNone", "la", containsNone},
    {"containsNotAll", "la", containsNotAll},
};

}  // namespace

bool isIn(const Value& hay, const Value& needle) {
  if (hay.is(Value::Kind::STRING)) {
    return needle.is(Value::Kind::STRING) && hay.text().find(needle.text()) != std::string::npos;
  }
  if (!hay.is(Value::Kind::LIST)) return false;
  bool simple = needle.is(Value::Kind::STRING) || needle.isNumber();
  auto& items = hay.items().items;
  return simple && std::any_of(items.begin(), items.end(), [&](auto& item) {
           bool numbers = item.isInteger() && needle.isInteger();
           return numbers ? item.asInteger() == needle.asInteger() : item == needle;
         });
}

std::shared_ptr<Object> newScratch() { return std::make_shared<Scratch>(); }

FunctionTable listFunctions() { return LIST_FUNCTIONS; }

}  // namespace orch::integration::templates
