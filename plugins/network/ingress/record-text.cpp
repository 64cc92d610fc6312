#include "record-text.h"

#include <charconv>
#include <sstream>

namespace orch::network::ingress {

namespace {
constexpr const char* TRAILER = "end";
}

std::string encodeLines(const char* header, const std::vector<std::string>& lines) {
  std::string text = std::string(header) + "\n";
  for (auto& line : lines) text += line + "\n";
  return text + TRAILER + "\n";
}

std::optional<std::vector<Words>> decodeLines(const char* header, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != header) return std::nullopt;
  std::vector<Words> found;
  while (std::getline(lines, line)) {
    if (line == TRAILER) return found;
    std::istringstream words(line);
    Words read;
    for (std::string word; words >> word;) read.push_back(word);
    if (read.empty()) return std::nullopt;
    found.push_back(std::move(read));
  }
  return std::nullopt;  // cut short
}

std::optional<uint32_t> decodeNumber(const std::string& word, uint32_t least, uint32_t most) {
  uint32_t value = 0;
  auto end = word.data() + word.size();
  auto read = std::from_chars(word.data(), end, value);
  if (read.ec != std::errc() || read.ptr != end || value < least || value > most) {
    return std::nullopt;
  }
  return value;
}

}  // namespace orch::network::ingress
