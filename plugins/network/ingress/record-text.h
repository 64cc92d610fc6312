// The form of this plugin's records: text, a header that names what it is, one `key value ...` per
// line, readable by whoever looks for an error, and a last line by which one that was cut short is
// known.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace orch::network::ingress {

// A file in a folder of record files (lib/record-files.h).
struct Record {
  std::string folder;
  std::string name;
  std::string text;
};

std::string encodeLines(const char* header, const std::vector<std::string>& lines);
// The words of each line; nothing if the text is not a complete record of that kind.
using Words = std::vector<std::string>;
std::optional<std::vector<Words>> decodeLines(const char* header, const std::string& text);
// A decimal number from `least` to `most`; nothing else.
std::optional<uint32_t> decodeNumber(const std::string& word, uint32_t least, uint32_t most);

}  // namespace orch::network::ingress
