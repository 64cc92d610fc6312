#include "layout.h"

#include <kj/string.h>

#include <algorithm>
#include <charconv>

#include "lib/seal.h"
#include "orch/fail.h"

namespace orch::store::etcd {

namespace {

constexpr char SEPARATOR = ' ';
std::optional<uint64_t> numberOf(std::string_view text) {
  uint64_t number = 0;
  auto end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

}  // namespace

Layout::Layout(std::string text) : prefix(std::move(text)) {
  bool good = prefix.size() >= 2 && prefix.size() <= 128 && prefix.front() == '/' &&
              prefix.back() == '/' &&
              std::all_of(prefix.begin(), prefix.end(), [](char c) { return c > ' ' && c < 127; });
  if (good) return;
  fail(kj::str("prefix is '", prefix.c_str(),
               "'; accepted: 2 to 128 printable characters from '/' to '/', as /orch/"));
}

std::string Layout::object(std::string_view kind, std::string_view key) const {
  auto whole = objects();
  whole.append(kind);
  whole.push_back(SEPARATOR);
  return whole.append(key);
}

std::optional<Layout::Name> Layout::nameOf(std::string_view etcdKey) const {
  auto start = objects();
  if (!etcdKey.starts_with(start)) return std::nullopt;
  auto name = etcdKey.substr(start.size());
  auto space = name.find(SEPARATOR);
  if (space == 0 || space == std::string_view::npos) return std::nullopt;
  return Name{std::string(name.substr(0, space)), std::string(name.substr(space + 1))};
}

std::optional<std::string> Layout::batchIdOf(std::string_view etcdKey) const {
  auto start = batches();
  if (!etcdKey.starts_with(start)) return std::nullopt;
  return std::string(etcdKey.substr(start.size()));
}

std::string Layout::seal(std::string_view etcdKey, std::string_view content) const {
  return store::seal(etcdKey.substr(prefix.size()), content);
}

std::optional<std::string_view> Layout::unseal(std::string_view etcdKey,
                                               std::string_view value) const {
  return store::unseal(etcdKey.substr(prefix.size()), value);
}

std::string Founding::text() const {
  return id + " " + std::to_string(epoch) + " " + std::to_string(trimmed);
}

std::optional<Founding> Founding::read(std::string_view text) {
  auto first = text.find(' ');
  auto second = text.find(' ', first == std::string_view::npos ? first : first + 1);
  if (first == 0 || second == std::string_view::npos) return std::nullopt;
  auto epoch = numberOf(text.substr(first + 1, second - first - 1));
  auto trimmed = numberOf(text.substr(second + 1));
  if (!epoch || !trimmed) return std::nullopt;
  return Founding{std::string(text.substr(0, first)), *epoch, *trimmed};
}

}  // namespace orch::store::etcd
