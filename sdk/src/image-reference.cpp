#include "orch/image-reference.h"

#include <algorithm>

#include "orch/fail.h"

namespace orch {

namespace {

constexpr size_t MAX_NAME = 255;  // of registry and repository, distribution/reference
constexpr size_t MAX_TAG = 128;
constexpr std::string_view SHA256 = "sha256:";

bool isLower(char c) { return c >= 'a' && c <= 'z'; }
bool isUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool isNumber(char c) { return c >= '0' && c <= '9'; }
bool isWord(char c) { return isLower(c) || isUpper(c) || isNumber(c) || c == '_'; }

// [a-z0-9]+((.|_|__|-+)[a-z0-9]+)*
bool isComponent(std::string_view text) {
  auto plain = [](char c) { return isLower(c) || isNumber(c); };
  if (text.empty() || !plain(text.front()) || !plain(text.back())) return false;
  for (size_t i = 0; i < text.size();) {
    if (plain(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (!plain(text[end])) ++end;  // the last character is plain
    auto separator = text.substr(i, end - i);
    bool dashes = separator.find_first_not_of('-') == std::string_view::npos;
    if (separator != "." && separator != "_" && separator != "__" && !dashes) return false;
    i = end;
  }
  return true;
}

bool isRegistry(std::string_view text) {
  if (text.starts_with('[')) {
    auto end = text.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    auto address = text.substr(1, end - 1);
    if (address.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) {
      return false;
    }
    text = text.substr(end + 1);
    if (text.empty()) return true;
    if (text.front() != ':') return false;
  } else {
    auto colon = text.find(':');
    auto host = text.substr(0, colon);
    if (host.empty() || host.front() == '-' || host.front() == '.' || host.back() == '-') {
      return false;
    }
    for (char c : host) {
      if (!(isLower(c) || isUpper(c) || isNumber(c) || c == '.' || c == '-')) return false;
    }
    if (colon == std::string_view::npos) return true;
    text = text.substr(colon);
  }
  auto port = text.substr(1);
  return !port.empty() && port.size() <= 5 && std::all_of(port.begin(), port.end(), isNumber);
}

bool isTag(std::string_view text) {
  if (text.empty() || text.size() > MAX_TAG || !isWord(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return isWord(c) || c == '.' || c == '-'; });
}

[[noreturn]] void refuse(kj::StringPtr text, kj::StringPtr why) {
  // A name is not repeated at any length: it may be somebody's attempt to fill a log.
  kj::String shown = text.size() <= 300 ? kj::str(text) : kj::str(text.slice(0, 300), "…");
  fail(kj::str("invalid image reference '", shown, "': ", why,
               "; accepted are 'name', 'name:tag', 'registry:port/team/name:tag' and "
               "'name@sha256:<64 hexadecimal digits>'"));
}

}  // namespace

bool isHex(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool isDigest(std::string_view text) {
  return text.starts_with(SHA256) && text.size() == SHA256.size() + 64 &&
         isHex(text.substr(SHA256.size()));
}

std::string ImageReference::canonical() const {
  return registry + "/" + repository + (digest.empty() ? ":" + tag : "@" + digest);
}

std::string ImageReference::familiar() const {
  return name() + (digest.empty() ? ":" + tag : "@" + digest);
}

std::string ImageReference::name() const {
  if (registry != "docker.io") return registry + "/" + repository;
  return repository.starts_with("library/") ? repository.substr(8) : repository;
}

bool ImageReference::loopback() const {
  if (registry.starts_with("[::1]")) return true;
  auto host = registry.substr(0, registry.find(':'));
  if (host == "localhost") return true;
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
}

ImageReference parseImageReference(kj::StringPtr text) {
  std::string_view rest(text.begin(), text.size());
  ImageReference reference;
  if (rest.empty()) refuse(text, "it is empty"_kj);
  auto at = rest.find('@');
  if (at != std::string_view::npos) {
    reference.digest = rest.substr(at + 1);
    if (!isDigest(reference.digest)) {
      refuse(text, "what follows '@' is no sha256 digest"_kj);
    }
    rest = rest.substr(0, at);
  }
  auto slash = rest.find('/');
  auto first = rest.substr(0, slash);
  bool named = slash != std::string_view::npos &&
               (first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
                std::any_of(first.begin(), first.end(), isUpper));
  if (named) {
    if (!isRegistry(first)) refuse(text, "what stands before the first '/' is no registry"_kj);
    reference.registry = first == "index.docker.io" ? "docker.io" : std::string(first);
    rest = rest.substr(slash + 1);
  } else {
    reference.registry = "docker.io";
  }
  auto colon = rest.find(':', rest.rfind('/') == std::string_view::npos ? 0 : rest.rfind('/'));
  if (colon != std::string_view::npos) {
    reference.tag = rest.substr(colon + 1);
    if (!isTag(reference.tag)) {
      refuse(text, "a tag has at most 128 letters, digits, '_', '.' and '-'"_kj);
    }
    rest = rest.substr(0, colon);
  } else if (reference.digest.empty()) {
    reference.tag = "latest";
  }
  if (!reference.digest.empty()) reference.tag.clear();

  size_t begin = 0;
  while (begin <= rest.size()) {
    size_t end = std::min(rest.find('/', begin), rest.size());
    if (!isComponent(rest.substr(begin, end - begin))) {
      refuse(text,
             "a name's parts are lower-case letters and digits, separated by '.', '_', '__' or "
             "dashes"_kj);
    }
    begin = end + 1;
  }
  reference.repository = rest;
  if (reference.registry == "docker.io" && rest.find('/') == std::string_view::npos) {
    reference.repository = "library/" + reference.repository;
  }
  if (reference.registry.size() + 1 + reference.repository.size() > MAX_NAME) {
    refuse(text, "a name has at most 255 characters"_kj);
  }
  return reference;
}

}  // namespace orch
