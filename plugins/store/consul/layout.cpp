#include "layout.h"

#include <kj/string.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "lib/seal.h"
#include "orch/fail.h"

namespace orch::store::consul {

namespace {

constexpr char SEPARATOR = ' ';

bool isPathCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-' || c == '/';
}

}  // namespace

Layout::Layout(std::string text) : prefix(std::move(text)) {
  auto has = [&](const char* words) { return ("/" + prefix).find(words) != std::string::npos; };
  // consul's own HTTP interface cannot name keys with empty parts, or with dots alone.
  bool good = prefix.size() >= 2 && prefix.size() <= 128 && prefix.back() == '/' && !has("//") &&
              !has("/./") && !has("/../") &&
              std::all_of(prefix.begin(), prefix.end(), isPathCharacter);
  if (good) return;
  fail(kj::str("prefix is '", prefix.c_str(),
               "'; accepted: 2 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', with '/' between them "
               "and at the end, as orch/"));
}

std::string Layout::object(std::string_view kind, std::string_view key) const {
  auto whole = objects();
  whole.append(kind);
  whole.push_back(SEPARATOR);
  return whole.append(key);
}

std::string Layout::change(uint64_t number) const {
  char digits[17];  // all of one length: their order is that of the numbers
  snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(number));
  return prefix + "change/" + digits;
}

std::optional<Layout::Name> Layout::nameOf(std::string_view consulKey) const {
  auto start = objects();
  if (!consulKey.starts_with(start)) return std::nullopt;
  auto name = consulKey.substr(start.size());
  auto space = name.find(SEPARATOR);
  if (space == 0 || space == std::string_view::npos) return std::nullopt;
  return Name{std::string(name.substr(0, space)), std::string(name.substr(space + 1))};
}

std::string Layout::sealed(const std::string& consulKey, std::string_view content) const {
  return seal(std::string_view(consulKey).substr(prefix.size()), content);
}

std::optional<std::string_view> Layout::unsealed(const std::string& consulKey,
                                                 std::string_view value) const {
  return unseal(std::string_view(consulKey).substr(prefix.size()), value);
}

std::string withNumber(uint64_t number, std::string_view rest) {
  std::string bytes(reinterpret_cast<const char*>(&number), NUMBER_BYTES);
  return bytes.append(rest);
}

std::optional<uint64_t> readNumber(std::string_view text) {
  uint64_t number = 0;
  auto end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

std::string Founding::text() const {
  return id + " " + std::to_string(epoch) + " " + std::to_string(trimmed) + " " + leader;
}

std::optional<Founding> Founding::read(std::string_view text, uint64_t index) {
  auto next = [&]() -> std::optional<std::string_view> {
    auto space = text.find(' ');
    if (space == text.npos) return std::nullopt;
    auto word = text.substr(0, space);
    text.remove_prefix(space + 1);
    return word;
  };
  auto id = next(), epochWord = next(), trimmedWord = next();
  if (!trimmedWord || id->empty()) return std::nullopt;
  auto epoch = readNumber(*epochWord), trimmed = readNumber(*trimmedWord);
  if (!epoch || !trimmed) return std::nullopt;
  return Founding{std::string(*id), *epoch, *trimmed, std::string(text), index};
}

std::string Head::text() const { return std::to_string(number) + " " + batch; }

std::optional<Head> Head::read(std::string_view text, uint64_t index) {
  auto space = text.find(' ');
  if (space == text.npos) return std::nullopt;
  auto number = readNumber(text.substr(0, space));
  if (!number) return std::nullopt;
  return Head{*number, std::string(text.substr(space + 1)), index};
}

}  // namespace orch::store::consul
