// Values in the notations of configuration files, as the libraries of consul-template write them.
// Pure.
#pragma once

#include <string>

#include "language/value.h"

namespace orch::integration::templates {

// YAML in block style, without a line end behind it. Long lines are not broken.
std::string yamlText(const Value& value);
// TOML of a map or a struct. `problem` says what cannot be written.
std::string tomlText(const Value& value, std::string& problem);

// Name and value of all that a map or a struct holds, in its order.
std::vector<std::pair<std::string, Value>> entriesOf(const Value& value);

}  // namespace orch::integration::templates
