#include "address.h"

#include <arpa/inet.h>
#include <kj/string.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery {

namespace {

constexpr size_t MAX_HOST = 253;
constexpr size_t MAX_TEXT = 512;  // of an entry with a range in it

std::string_view trimmed(std::string_view text) {
  auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// For messages: short, on one line and printable.
std::string shown(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 80)) {
    auto byte = static_cast<unsigned char>(c);
    out += byte < ' ' || byte == 0x7f ? '?' : c;
  }
  return out + (text.size() > 80 ? "…" : "");
}

[[noreturn]] void refuse(std::string_view entry, const char* why) {
  fail(kj::str("'", shown(entry).c_str(), "' ", why));
}

// Digits only, and no zero before others.
bool parseNumber(std::string_view text, uint32_t& number) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
  auto [end, error] = std::from_chars(text.begin(), text.end(), number);
  return error == std::errc() && end == text.end();
}

std::string parseHost6(std::string_view entry, std::string_view host) {
  in6_addr address;
  char text[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET6, std::string(host).c_str(), &address) != 1) {
    refuse(entry, "has no IPv6 address in its brackets, and no range of numbers such as [10:200]");
  }
  return "[" + std::string(inet_ntop(AF_INET6, &address, text, sizeof(text))) + "]";
}

std::string parseHost(std::string_view entry, std::string_view host) {
  bool numeric = true;
  std::string lower;
  for (char c : host) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
    bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && c != '.') refuse(entry, "has a character that no host has");
    numeric = numeric && !letter;
    lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  in_addr address;
  if (numeric && inet_pton(AF_INET, lower.c_str(), &address) != 1) {
    refuse(entry, "has no IPv4 address");
  }
  return lower;
}

struct RangeText {
  std::string_view before, from, to, behind;
};

// The only `[a:b]` of digits; false if there is none, as in an IPv6 address.
bool findRange(std::string_view entry, RangeText& range) {
  auto digits = [](std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  size_t found = 0;
  for (size_t open = entry.find('['); open != entry.npos; open = entry.find('[', open + 1)) {
    auto close = entry.find(']', open);
    auto colon = entry.find(':', open);
    if (close == entry.npos || colon == entry.npos || colon > close) continue;
    auto from = entry.substr(open + 1, colon - open - 1);
    auto to = entry.substr(colon + 1, close - colon - 1);
    if (!digits(from) || !digits(to)) continue;
    range = {entry.substr(0, open), from, to, entry.substr(close + 1)};
    ++found;
  }
  if (found > 1) refuse(entry, "has more than one range; accepted: one, such as [10:200]");
  return found == 1;
}

void sortOnce(std::vector<std::string>& all) {
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
}

void add(std::vector<std::string>& all, std::vector<std::string> more) {
  if (all.size() + more.size() > MAX_ENTRIES) {
    fail(kj::str("more than ", MAX_ENTRIES, " addresses; accepted: as many"));
  }
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

}  // namespace

std::string parseAddress(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == text.npos || colon == 0) refuse(text, "is no address; accepted: host:port");
  auto host = text.substr(0, colon);
  uint32_t port = 0;
  if (!parseNumber(text.substr(colon + 1), port) || port < 1 || port > 65535) {
    refuse(text, "has no port; accepted: host:port, with a port from 1 to 65535");
  }
  if (host.size() > MAX_HOST) refuse(text, "has a host of more than 253 bytes");
  bool six = host.front() == '[' && host.back() == ']';
  auto checked = six ? parseHost6(text, host.substr(1, host.size() - 2)) : parseHost(text, host);
  return checked + ":" + std::to_string(port);
}

bool isAddress(std::string_view text) {
  auto parsed = attemptNow([&] { return parseAddress(text); });
  return parsed.ok() && parsed.value() == text;
}

std::vector<std::string> expandAddresses(std::string_view text) {
  if (text.size() > MAX_TEXT) refuse(text, "is longer than 512 bytes");
  RangeText range;
  if (!findRange(text, range)) return {parseAddress(text)};
  uint32_t from = 0, to = 0;
  if (!parseNumber(range.from, from) || !parseNumber(range.to, to) || to < from) {
    refuse(text, "has a range that is none; accepted: [a:b] with whole numbers and a <= b");
  }
  if (to - from >= MAX_RANGE) refuse(text, "has a range of more than 4096 addresses");
  std::vector<std::string> all;
  for (uint32_t n = from; n <= to; ++n) {
    auto one = std::string(range.before) + std::to_string(n) + std::string(range.behind);
    all.push_back(parseAddress(one));
  }
  return all;
}

std::vector<std::string> parseHostList(std::string_view text) {
  std::vector<std::string> all;
  for (size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find(',', at), text.size());
    auto entry = trimmed(text.substr(at, end - at));
    if (!entry.empty()) add(all, expandAddresses(entry));
    at = end + 1;
  }
  sortOnce(all);
  return all;
}

std::vector<std::string> parseHostFile(std::string_view text, const std::string& name) {
  std::vector<std::string> all;
  uint32_t number = 0;
  for (size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    line = trimmed(line.substr(0, line.find('#')));
    at = end + 1;
    ++number;
    if (line.empty()) continue;
    auto parsed = attemptNow([&] { add(all, expandAddresses(line)); });
    if (!parsed.ok()) fail(kj::str(name.c_str(), ":", number, ": ", parsed.message()));
  }
  sortOnce(all);
  return all;
}

}  // namespace orch::discovery
