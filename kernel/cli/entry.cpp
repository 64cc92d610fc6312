#include "entry.h"

#include <string>
#include <string_view>

#include "orch/amounts.h"
#include "orch/fail.h"
#include "value.h"

namespace orch::cli {

namespace {

kj::String owned(std::string_view text) { return kj::heapString(text.data(), text.size()); }

bool isSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

Pair parseLabel(kj::StringPtr flag, kj::StringPtr text) {
  auto all = view(text);
  auto equals = all.find('=');
  auto key = all.substr(0, equals);
  if (key.empty()) badValue(flag, text, "key=value");
  for (char c : key) {
    if (isSpace(c)) badValue(flag, text, "key=value with a key without spaces");
  }
  return Pair{owned(key), owned(equals == std::string_view::npos ? "" : all.substr(equals + 1))};
}

kj::String parseEnv(kj::StringPtr flag, kj::StringPtr text, const LookUp& lookUp) {
  auto all = view(text);
  auto equals = all.find('=');
  auto key = all.substr(0, equals);
  if (key.empty()) badValue(flag, text, "KEY=value, or KEY to pass on its value here");
  if (equals != std::string_view::npos) return kj::str(text);
  const char* value = lookUp(text);
  return value == nullptr ? kj::String() : kj::str(text, "=", value);
}

kj::Vector<kj::String> parseEnvFile(kj::StringPtr name, kj::StringPtr content,
                                    const LookUp& lookUp) {
  kj::Vector<kj::String> result;
  auto rest = view(content);
  if (rest.substr(0, 3) == "\xef\xbb\xbf") rest.remove_prefix(3);
  for (size_t number = 1; !rest.empty(); ++number) {
    auto end = rest.find('\n');
    auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    while (!line.empty() && isSpace(line[0])) line.remove_prefix(1);
    if (line.empty() || line[0] == '#') continue;
    auto key = line.substr(0, line.find('='));
    bool spaced = false;
    for (char c : key) spaced |= isSpace(c);
    if (key.empty() || spaced) {
      fail(kj::str("usage: invalid line ", number, " of --env-file '", name, "': '", owned(line),
                   "': expected KEY=value with a key without spaces"));
    }
    auto entry = parseEnv("--env-file", owned(line), lookUp);
    if (entry.size() > 0) result.add(kj::mv(entry));
  }
  return result;
}

capnp::Orphan<schema::NetworkAttachment> parseNetwork(kj::StringPtr flag, kj::StringPtr text,
                                                      capnp::Orphanage orphanage) {
  constexpr kj::StringPtr EXPECTED =
      "the name of a network, and alias=NAME as often as you like"_kj;
  auto orphan = orphanage.newOrphan<schema::NetworkAttachment>();
  auto attachment = orphan.get();
  kj::Vector<kj::String> aliases;
  for (auto& field : splitFields(flag, text)) {
    auto pair = parseLabel(flag, field);
    bool bare = view(field).find('=') == std::string_view::npos;
    auto& value = bare ? pair.key : pair.value;
    if (value.size() == 0 || view(value).find(' ') != std::string_view::npos) {
      badValue(flag, text, EXPECTED);
    }
    bool names = bare || pair.key == "name";
    if (names && attachment.asReader().getName().size() == 0) {
      attachment.setName(value);
    } else if (!bare && pair.key == "alias") {
      aliases.add(kj::mv(value));
    } else {
      badValue(flag, text, EXPECTED);
    }
  }
  if (attachment.asReader().getName().size() == 0) badValue(flag, text, EXPECTED);
  auto list = attachment.initAliases(aliases.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, aliases[i]);
  return orphan;
}

void parseUlimit(kj::StringPtr flag, kj::StringPtr text, schema::Ulimit::Builder out) {
  auto all = view(text);
  auto equals = all.find('=');
  auto name = all.substr(0, equals);
  if (equals == std::string_view::npos)
    badValue(flag, text, "name=soft[:hard] such as nofile=1024:2048");
  auto limits = all.substr(equals + 1);
  auto colon = limits.find(':');
  auto number = [&](std::string_view digits) -> int64_t {
    if (digits == "-1") return -1;
    auto value = readDigits(digits);
    if (!value || *value > INT64_MAX) {
      badValue(flag, text, "name=soft[:hard] with numbers, -1 for unlimited");
    }
    return static_cast<int64_t>(*value);
  };
  int64_t soft = number(limits.substr(0, colon));
  int64_t hard = colon == std::string_view::npos ? soft : number(limits.substr(colon + 1));
  out.setName(owned(name));
  out.setSoft(soft);
  out.setHard(hard);
}

kj::Vector<kj::String> splitWords(kj::StringPtr flag, kj::StringPtr text) {
  kj::Vector<kj::String> words;
  std::string word;
  bool inWord = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\\' && quote != '\'') {
      if (++i == text.size()) badValue(flag, text, "something after the last backslash");
      bool kept =
          quote == '"' && text[i] != '"' && text[i] != '\\' && text[i] != '$' && text[i] != '`';
      if (kept) word += '\\';
      word += text[i];
      inWord = true;
    } else if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      inWord = true;
    } else if (isSpace(c)) {
      if (inWord) words.add(owned(word));
      word.clear();
      inWord = false;
    } else {
      word += c;
      inWord = true;
    }
  }
  if (quote != 0) badValue(flag, text, "a closing quote");
  if (inWord) words.add(owned(word));
  return words;
}

kj::Vector<kj::String> splitFields(kj::StringPtr flag, kj::StringPtr text) {
  kj::Vector<kj::String> fields;
  std::string field;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += '"';
      ++i;
    } else if (c == '"' && (quoted || field.empty())) {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.add(owned(field));
      field.clear();
    } else {
      field += c;
    }
  }
  if (quoted) badValue(flag, text, "a closing quote");
  fields.add(owned(field));
  return fields;
}

}  // namespace orch::cli
