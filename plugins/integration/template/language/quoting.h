// Texts and characters as Go writes them in quotes. Pure.
#pragma once

#include <string>
#include <string_view>

namespace orch::integration::templates {

// What stands between the quotes. False if a `\` in it means nothing.
bool unquote(std::string_view inside, char quote, std::string& text);
// In quotes, with `\n`, `\"` and the like; what cannot be printed as `\x00`, `\u0000`.
std::string quoted(std::string_view text);

}  // namespace orch::integration::templates
