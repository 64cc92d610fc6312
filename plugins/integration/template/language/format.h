// Values as text, as Go's fmt prints them. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "language/value.h"

namespace orch::integration::templates {

// As an action prints it: `%v`, but `<no value>` for nil.
std::string printed(const Value& value);
// `%v`.
std::string plainText(const Value& value);
// `print` and `println`.
std::string printAll(std::span<const Value> values);
std::string printLine(std::span<const Value> values);
// `printf`. What does not fit is printed as Go does it, `%!d(string=x)`; it never fails. Widths and
// precisions past 10,000 count as none, and what is behind the first 32 MiB is left out.
std::string printFormat(std::string_view format, std::span<const Value> values);

// `verb` is e, f or g as of printf; with a precision of -1 as many digits as it takes to be this
// number and no other.
std::string realText(double value, char verb, int precision);

}  // namespace orch::integration::templates
