#include <charconv>
#include <cmath>

#include "language/numbers.h"
#include "language/rendering.h"

namespace orch::integration::templates {

namespace {

// What is beyond does not fit into 64 bits.
constexpr double LARGEST_WHOLE = 9.2e18;

template <typename T>
std::optional<T> numberIn(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return {};
  }
  T value{};
  auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return {};
  return value;
}

uint64_t wholeOf(Call& call, Operation operation, const Value& a, const Value& b, bool natural) {
  auto x = static_cast<uint64_t>(a.asInteger());
  auto y = static_cast<uint64_t>(b.asInteger());
  auto sx = static_cast<int64_t>(x), sy = static_cast<int64_t>(y);
  bool divides = operation == Operation::DIVIDE || operation == Operation::MODULO;
  if (divides && y == 0) call.wrong("a division by 0");
  bool less = natural ? x < y : sx < sy;
  switch (operation) {
    case Operation::ADD:
      return x + y;
    case Operation::SUBTRACT:
      return x - y;
    case Operation::MULTIPLY:
      return x * y;
    case Operation::DIVIDE:
      if (natural) return x / y;
      return sy == -1 ? 0 - x : static_cast<uint64_t>(sx / sy);
    case Operation::MODULO:
      if (natural) return x % y;
      return sy == -1 ? 0 : static_cast<uint64_t>(sx % sy);
    case Operation::MINIMUM:
      return less ? x : y;
    case Operation::MAXIMUM:
      return less ? y : x;
  }
  return 0;
}

double realOf(Call& call, Operation operation, double x, double y) {
  switch (operation) {
    case Operation::ADD:
      return x + y;
    case Operation::SUBTRACT:
      return x - y;
    case Operation::MULTIPLY:
      return x * y;
    case Operation::DIVIDE:
      if (y == 0) call.wrong("a division by 0");
      return x / y;
    case Operation::MODULO:
      call.wrong("the numbers have to be whole ones");
    case Operation::MINIMUM:
      return std::min(x, y);
    case Operation::MAXIMUM:
      return std::max(x, y);
  }
  return 0;
}

// consul-template's order: what is computed with stands first, what the pipe brings last.
template <Operation OPERATION>
Value compute(Call& call) {
  return computed(call, OPERATION, call.arguments[1], call.arguments[0]);
}

Value parseBool(Call& call) {
  constexpr std::string_view TRUE[] = {"1", "t", "T", "true", "TRUE", "True"};
  constexpr std::string_view FALSE[] = {"", "0", "f", "F", "false", "FALSE", "False"};
  for (auto word : TRUE) {
    if (call.text(0) == word) return true;
  }
  for (auto word : FALSE) {
    if (call.text(0) == word) return false;
  }
  call.wrong("'" + call.text(0) + "' is neither true nor false");
}

[[noreturn]] void failNumber(Call& call) { call.wrong("'" + call.text(0) + "' is no such number"); }

Value parseInt(Call& call) {
  if (call.text(0).empty()) return int64_t{0};
  auto value = integerIn(call.text(0));
  if (!value) failNumber(call);
  return *value;
}
Value parseUint(Call& call) {
  if (call.text(0).empty()) return uint64_t{0};
  bool sign = call.text(0).starts_with('+');
  auto value = numberIn<uint64_t>(call.text(0));
  if (!value || sign) failNumber(call);
  return *value;
}
Value parseFloat(Call& call) {
  if (call.text(0).empty()) return 0.0;
  auto value = realIn(call.text(0));
  if (!value) failNumber(call);
  return *value;
}

int64_t bound(Call& call, const Value& value) {
  if (value.isInteger()) return value.asInteger();
  if (!value.is(Value::Kind::STRING)) {
    call.wrong(std::string("a bound is a whole number, not ") + value.typeName());
  }
  if (value.text().empty()) return 0;
  auto number = integerIn(value.text());
  if (!number) call.wrong("'" + value.text() + "' is no whole number");
  return *number;
}
Value loop(Call& call) {
  Value::Span span;
  if (call.size() == 2) span.first = bound(call, call.arguments[0]);
  span.last = bound(call, call.arguments[call.size() - 1]);
  return span;
}

constexpr Function NUMBER_FUNCTIONS[] = {
    {"add", "aa", compute<Operation::ADD>},
    {"subtract", "aa", compute<Operation::SUBTRACT>},
    {"multiply", "aa", compute<Operation::MULTIPLY>},
    {"divide", "aa", compute<Operation::DIVIDE>},
    {"modulo", "aa", compute<Operation::MODULO>},
    {"minimum", "aa", compute<Operation::MINIMUM>},
    {"maximum", "aa", compute<Operation::MAXIMUM>},
    {"parseBool", "s", parseBool},
    {"parseInt", "s", parseInt},
    {"parseUint", "s", parseUint},
    {"parseFloat", "s", parseFloat},
    {"loop", "aa?", loop},
};

}  // namespace

Value computed(Call& call, Operation operation, const Value& a, const Value& b) {
  for (auto* value : {&a, &b}) {
    if (!value->isNumber()) call.wrong(std::string("a number is wanted, not ") + value->typeName());
  }
  if (a.isInteger() && b.isInteger()) {
    bool natural = a.is(Value::Kind::UINT) && b.is(Value::Kind::UINT);
    auto whole = wholeOf(call, operation, a, b, natural);
    if (natural) return whole;
    return static_cast<int64_t>(whole);
  }
  return realOf(call, operation, a.asReal(), b.asReal());
}

std::optional<int64_t> integerIn(std::string_view text) { return numberIn<int64_t>(text); }

std::optional<double> realIn(std::string_view text) { return numberIn<double>(text); }

int64_t towardsZero(double value) {
  if (std::isnan(value)) return 0;
  if (value >= LARGEST_WHOLE) return INT64_MAX;
  if (value <= -LARGEST_WHOLE) return INT64_MIN;
  return static_cast<int64_t>(value);
}

FunctionTable numberFunctions() { return NUMBER_FUNCTIONS; }

}  // namespace orch::integration::templates
