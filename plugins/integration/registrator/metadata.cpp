#include "metadata.h"

#include <algorithm>

namespace orch::integration::registrator {

namespace {

constexpr std::string_view PREFIX = "SERVICE_";

std::string lowered(std::string_view text) {
  std::string lower(text);
  for (auto& c : lower) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
  return lower;
}

bool isNumber(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string_view Metadata::get(const std::string& key) const {
  auto found = values.find(key);
  return found == values.end() ? std::string_view() : found->second;
}

Metadata metadataOf(const std::vector<std::pair<std::string, std::string>>& said, uint16_t port) {
  Metadata metadata;
  auto own = std::to_string(port);
  for (auto& [name, value] : said) {
    if (!name.starts_with(PREFIX)) continue;
    auto key = lowered(std::string_view(name).substr(PREFIX.size()));
    auto end = key.find('_');
    if (end == std::string::npos || !isNumber(key.substr(0, end))) {
      if (metadata.ofPort.count(key) == 0) metadata.values[key] = value;
      continue;
    }
    if (key.substr(0, end) != own) continue;
    key.erase(0, end + 1);
    metadata.values[key] = value;
    metadata.ofPort.insert(key);
  }
  return metadata;
}

std::vector<std::string> tagsOf(std::string_view text) {
  std::vector<std::string> tags;
  std::string tag;
  auto end = [&] {
    if (!tag.empty()) tags.push_back(std::exchange(tag, {}));
  };
  for (size_t i = 0; i < text.size(); ++i) {
    bool escaped = text[i] == '\\' && i + 1 < text.size() && text[i + 1] == ',';
    if (escaped) {
      tag.push_back(text[++i]);
    } else if (text[i] == ',') {
      end();
    } else {
      tag.push_back(text[i]);
    }
  }
  end();
  return tags;
}

}  // namespace orch::integration::registrator
