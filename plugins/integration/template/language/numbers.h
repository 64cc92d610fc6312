// Numbers as functions compute with them and read them. Pure.
#pragma once

#include <string_view>

#include "language/functions.h"

namespace orch::integration::templates {

enum class Operation { ADD, SUBTRACT, MULTIPLY, DIVIDE, MODULO, MINIMUM, MAXIMUM };
// `a` comes first: of SUBTRACT it is what something is taken away from. Whole numbers wrap around
// as Go's do. `call` fails for what is no number, and for a division by zero.
Value computed(Call& call, Operation operation, const Value& a, const Value& b);
// As a text of digits says, or nothing.
std::optional<int64_t> integerIn(std::string_view text);
std::optional<double> realIn(std::string_view text);
// What fits of it.
int64_t towardsZero(double value);

}  // namespace orch::integration::templates
