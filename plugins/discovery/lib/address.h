// Addresses as the backends of discovery write them. Pure. All that is refused fails with a line
// that says what is accepted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orch::discovery {

// Of one range `[a:b]`: two class B networks would be a mistake.
inline constexpr size_t MAX_RANGE = 4096;
// Of all that one backend answers.
inline constexpr size_t MAX_ENTRIES = 10'000;

// `host:port` or `[v6]:port` in the form in which equal addresses are equal texts.
std::string parseAddress(std::string_view text);
// Whether it is an address in that form.
bool isAddress(std::string_view text);

// An address, or several: `10.0.0.[10:200]:2375` stands for 191, in their order, both ends
// included. One range per entry, of whole numbers without leading zeros that do not fall.
std::vector<std::string> expandAddresses(std::string_view text);

// `h1:1,h2:1,10.0.0.[1:5]:2377`, blanks around each and empty ones ignored; sorted, each once.
std::vector<std::string> parseHostList(std::string_view text);

// The lines of a file, each an address or a range, or nothing; `#` begins a comment anywhere, lines
// end with LF or CR LF. Sorted, each once. An error begins with `name:line: `.
std::vector<std::string> parseHostFile(std::string_view text, const std::string& name);

}  // namespace orch::discovery
