#include "request.h"

#include <algorithm>

#include "orch/json/json.h"

namespace orch::api::http {

namespace {

int digitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string Request::parameter(const std::string& key) const {
  auto found = query.find(key);
  return found == query.end() ? std::string() : found->second;
}

Answer refusal(unsigned status, const std::string& why) {
  Answer answer;
  answer.status = status;
  auto text = jsonText(kj::arrayPtr(why.data(), why.size()));
  answer.body = std::string("{\"error\":") + text.cStr() + "}\n";
  return answer;
}

bool decode(std::string_view text, bool plusIsSpace, std::string& into) {
  into.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return false;
      int high = digitOf(text[i + 1]), low = digitOf(text[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plusIsSpace) {
      c = ' ';
    }
    if (c == '\0') return false;
    into += c;
  }
  return true;
}

bool readTarget(std::string_view target, Request& request) {
  if (target.empty() || target.front() != '/') return false;
  auto mark = target.find('?');
  if (!decode(target.substr(0, mark), false, request.path)) return false;
  if (mark == std::string_view::npos) return true;
  auto rest = target.substr(mark + 1);
  while (!rest.empty()) {
    auto pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.empty()) continue;
    auto equals = pair.find('=');
    std::string key, value;
    if (!decode(pair.substr(0, equals), true, key)) return false;
    if (equals != std::string_view::npos && !decode(pair.substr(equals + 1), true, value)) {
      return false;
    }
    request.query[key] = value;
  }
  return true;
}

std::string hostOf(std::string_view header) {
  if (header.starts_with('[')) {
    header.remove_prefix(1);
    header = header.substr(0, header.find(']'));
  } else {
    header = header.substr(0, header.find(':'));
  }
  std::string host(header);
  for (char& c : host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return host;
}

}  // namespace orch::api::http
