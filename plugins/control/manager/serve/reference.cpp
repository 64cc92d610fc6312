#include "serve/reference.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
constexpr size_t MAX_REPOSITORY = 255;
constexpr size_t MAX_TAG = 128;

bool lowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool word(char c) { return lowerOrDigit(c) || (c >= 'A' && c <= 'Z') || c == '_'; }
bool hex(char c) { return digit(c) || (c >= 'a' && c <= 'f'); }

template <typename F>
bool all(std::string_view text, F&& test) {
  return std::all_of(text.begin(), text.end(), test);
}

// Letters and digits in lower case, joined by `.`, `_`, `__` or any number of `-`.
bool isPathComponent(std::string_view part) {
  if (part.empty() || !lowerOrDigit(part.front()) || !lowerOrDigit(part.back())) return false;
  for (size_t i = 0; i < part.size();) {
    if (lowerOrDigit(part[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < part.size() && part[end] == part[i]) ++end;
    bool separator =
        (part[i] == '.' && end - i == 1) || (part[i] == '_' && end - i <= 2) || part[i] == '-';
    if (!separator || end >= part.size() || !lowerOrDigit(part[end])) return false;
    i = end;
  }
  return true;
}

bool isRegistry(std::string_view host) {
  size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && !host.ends_with(']')) {
    auto port = host.substr(colon + 1);
    if (port.empty() || port.size() > 5 || !all(port, digit)) return false;
    host = host.substr(0, colon);
  }
  if (host.starts_with('[')) {
    return host.size() > 2 && host.ends_with(']') &&
           all(host.substr(1, host.size() - 2),
               [](char c) { return hex(c) || c == ':' || c == '.'; });
  }
  return !host.empty() &&
         all(host, [](char c) { return (word(c) && c != '_') || c == '.' || c == '-'; }) &&
         word(host.front()) && word(host.back());
}

std::string nameProblem(std::string_view name) {
  if (name.empty()) return "it has no name";
  if (name.size() > MAX_REPOSITORY) return "its name is longer than 255 characters";
  size_t slash = name.find('/');
  if (slash != std::string_view::npos) {
    auto host = name.substr(0, slash);
    bool registry =
        host.find_first_of(".:[") != std::string_view::npos || host == "localhost" ||
        std::any_of(host.begin(), host.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (registry) {
      if (!isRegistry(host)) return "'" + std::string(host) + "' is no registry host[:port]";
      name.remove_prefix(slash + 1);
    }
  }
  for (;;) {
    size_t next = name.find('/');
    auto part = name.substr(0, next);
    if (!isPathComponent(part)) {
      return "'" + std::string(part) +
             "' must be letters in lower case and digits, joined by '.', '_' or '-'";
    }
    if (next == std::string_view::npos) return {};
    name.remove_prefix(next + 1);
  }
}
}  // namespace

std::string referenceProblem(std::string_view reference) {
  size_t at = reference.find('@');
  if (at != std::string_view::npos) {
    auto digest = reference.substr(at + 1);
    constexpr std::string_view SHA256 = "sha256:";
    if (!digest.starts_with(SHA256) || digest.size() != SHA256.size() + 64 ||
        !all(digest.substr(SHA256.size()), hex)) {
      return "its digest is not sha256: and 64 hexadecimal digits";
    }
    reference = reference.substr(0, at);
  }
  size_t colon = reference.rfind(':');
  size_t slash = reference.rfind('/');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    auto tag = reference.substr(colon + 1);
    bool valid = !tag.empty() && tag.size() <= MAX_TAG && word(tag.front()) &&
                 all(tag, [](char c) { return word(c) || c == '.' || c == '-'; });
    if (!valid) return "its tag '" + std::string(tag) + "' is not 1 to 128 of [A-Za-z0-9_.-]";
    reference = reference.substr(0, colon);
  }
  return nameProblem(reference);
}

}  // namespace orch::control::manager
