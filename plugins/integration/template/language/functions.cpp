#include "language/functions.h"

#include <kj/vector.h>

#include <array>

#include "orch/suggest.h"

namespace orch::integration::templates {

namespace {

std::array<FunctionTable, 7> tables() {
  return {goFunctions(),   dataFunctions(),     textFunctions(), numberFunctions(),
          listFunctions(), encodingFunctions(), sprigFunctions()};
}

const char* wanted(char letter) {
  switch (letter) {
    case 's':
      return "a text";
    case 'i':
      return "a whole number";
    case 'l':
      return "a list";
    case 't':
      return "a list of texts";
    default:
      return "a map";
  }
}

bool suits(char letter, const Value& value) {
  switch (letter) {
    case 's':
      return value.is(Value::Kind::STRING);
    case 'i':
      return value.isInteger();
    case 'l':
      return value.is(Value::Kind::LIST);
    case 't':
      if (!value.is(Value::Kind::LIST)) return false;
      for (auto& item : value.items().items) {
        if (!item.is(Value::Kind::STRING)) return false;
      }
      return true;
    case 'm':
      return value.is(Value::Kind::MAP);
    default:
      return true;
  }
}

struct Parameters {
  std::string letters;
  size_t least = 0;
  bool endless = false;

  explicit Parameters(std::string_view text) {
    for (char c : text) {
      if (c == '*') {
        endless = true;
        least = letters.size() - 1;
      } else if (c != '?') {
        letters += c;
        least = letters.size();
      } else {
        least = letters.size() - 1;
      }
    }
    // Several that may be missing follow each other: `ss?s?`.
    auto first = text.find('?');
    if (first != std::string_view::npos) least = first - 1;
  }
};

}  // namespace

const Function* findFunction(std::string_view name) {
  for (auto& table : tables()) {
    for (auto& function : table) {
      if (name == function.name) return &function;
    }
  }
  return nullptr;
}

std::string nearestFunction(std::string_view name) {
  kj::Vector<kj::StringPtr> known;
  for (auto& table : tables()) {
    for (auto& function : table) known.add(function.name);
  }
  auto typed = std::string(name);
  return suggestion(typed.c_str(), known.asPtr()).cStr();
}

std::string refusedArguments(const Function& function, const std::vector<Value>& arguments) {
  Parameters parameters(function.parameters);
  auto most = parameters.letters.size();
  auto count = arguments.size();
  if (count < parameters.least || (count > most && !parameters.endless)) {
    auto number = std::to_string(count < parameters.least ? parameters.least : most);
    bool range = parameters.endless || parameters.least != most;
    return std::string(function.name) + " wants " +
           (range ? count < parameters.least ? "at least " : "at most " : "") + number +
           (number == "1" ? " argument, not " : " arguments, not ") + std::to_string(count);
  }
  for (size_t i = 0; i < count; ++i) {
    char letter = parameters.letters[std::min(i, most - 1)];
    if (suits(letter, arguments[i])) continue;
    return std::string(function.name) + " wants " + wanted(letter) + " as argument " +
           std::to_string(i + 1) + ", not " + arguments[i].typeName();
  }
  return {};
}

}  // namespace orch::integration::templates
