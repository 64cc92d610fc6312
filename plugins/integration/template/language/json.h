// JSON, as Go writes and reads it. Pure.
#pragma once

#include <string>
#include <string_view>

#include "language/value.h"

namespace orch::integration::templates {

// Numbers are FLOAT, as Go reads them. `problem` says what is wrong, and there is no value.
Value parseJson(std::string_view text, std::string& problem);

struct JsonStyle {
  bool pretty = false;      // two spaces for each step
  bool escapesHtml = true;  // `<`, `>` and `&` as `\u003c` …
};
std::string jsonText(const Value& value, JsonStyle style);

}  // namespace orch::integration::templates
