// Capital and small letters of any script. Pure.
#pragma once

#include <string>
#include <string_view>

namespace orch::integration::templates {

std::string lowered(std::string_view text);
std::string raised(std::string_view text);
// The first letter of each word is a capital one; the others stay as they are.
std::string titled(std::string_view text);
// Without the characters of `cutset` at its ends.
std::string_view trimmed(std::string_view text, std::string_view cutset, bool left, bool right);
// Without white space at its ends.
std::string_view stripped(std::string_view text);

}  // namespace orch::integration::templates
