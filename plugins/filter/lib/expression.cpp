#include "lib/expression.h"

#include <re2/re2.h>
#include <strings.h>

#include <algorithm>
#include <cctype>

#include "lib/ipv4.h"
#include "orch/amounts.h"
#include "orch/fail.h"

namespace orch::filter {

struct Expression::Term {
  enum class Kind { ALL, ANY, MATCHES, COMPARES, EXISTS };
  enum class Order { LESS, LESS_EQUAL, MORE, MORE_EQUAL };
  struct Value {
    std::string text;
    std::shared_ptr<const RE2> pattern;  // null: the text itself
  };

  Kind kind = Kind::ALL;
  bool negated = false;
  std::vector<std::shared_ptr<const Term>> parts;  // of ALL and ANY
  std::string key;
  std::vector<Value> values;  // any of them
  Order order = Order::LESS;

  bool isMetBy(Expression::LookUp& lookUp) const;
  bool matches(const std::string& actual) const;
  bool compares(const std::string& actual) const;
};

namespace {

using Term = Expression::Term;
constexpr int MAX_DEPTH = 20;  // of parentheses
constexpr int64_t PATTERN_BYTES = 1 << 20;

// A number, or a size such as 16g.
std::optional<double> amountIn(std::string_view text) {
  auto rest = text;
  bool negative = !rest.empty() && rest.front() == '-';
  if (negative) rest.remove_prefix(1);
  auto number = takeDecimal(rest);
  if (number && rest.empty()) return negative ? -*number : *number;
  auto size = parseSizeBytes(text);
  if (size) return static_cast<double>(*size);
  return std::nullopt;
}

bool isInSubnet(const std::string& actual, const std::string& wanted) {
  auto address = network::parseIpv4(actual.c_str());
  auto subnet = network::parseSubnet(wanted.c_str());
  return address && subnet && subnet->contains(*address);
}

class Parser final {
 public:
  Parser(std::string_view text, const Dialect& dialect) : text(text), dialect(dialect) {}

  std::shared_ptr<const Term> parse() {
    auto term = any();
    skip();
    if (at < text.size()) refuse("'&&', '||' or the end");
    return term;
  }

 private:
  using Part = std::shared_ptr<const Term>;

  [[noreturn]] void refuse(kj::StringPtr expected) const {
    fail(kj::str("usage: the ", dialect.noun, " '", std::string(text).c_str(), "' expects ",
                 expected, " at column ", at + 1));
  }

  Part any() { return joined("||", Term::Kind::ANY, &Parser::all); }
  Part all() { return joined("&&", Term::Kind::ALL, &Parser::one); }

  Part joined(std::string_view word, Term::Kind kind, Part (Parser::*part)()) {
    auto first = (this->*part)();
    if (!take(word)) return first;
    auto term = std::make_shared<Term>();
    term->kind = kind;
    term->parts = {first};
    do {
      term->parts.push_back((this->*part)());
    } while (take(word));
    return term;
  }

  Part one() {
    if (!take("(")) return term();
    if (++depth > MAX_DEPTH) refuse("fewer parentheses");
    auto inside = any();
    if (!take(")")) refuse("')'");
    --depth;
    return inside;
  }

  Part term() {
    auto term = std::make_shared<Term>();
    term->key = key();
    term->negated = takeWord("not");
    bool mustBeWord = term->negated;
    if (takeWord("exists")) {
      term->kind = Term::Kind::EXISTS;
    } else if (takeWord("in")) {
      term->kind = Term::Kind::MATCHES;
      values(*term);
    } else if (mustBeWord) {
      refuse("'in' or 'exists'");
    } else if (!comparison(*term)) {
      equality(*term);
    }
    return term;
  }

  std::string key() {
    skip();
    size_t begin = at;
    auto inKey = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-' ||
             c == '/';
    };
    while (at < text.size() && inKey(text[at])) ++at;
    if (at == begin) refuse(kj::str("a key such as ", dialect.key));
    return std::string(text.substr(begin, at - begin));
  }

  bool comparison(Term& term) {
    using Order = Term::Order;
    constexpr std::pair<std::string_view, Order> ORDERS[] = {{"<=", Order::LESS_EQUAL},
                                                             {">=", Order::MORE_EQUAL},
                                                             {"<", Order::LESS},
                                                             {">", Order::MORE}};
    for (auto& [word, order] : ORDERS) {
      if (!take(word)) continue;
      term.kind = Term::Kind::COMPARES;
      term.order = order;
      skip();
      size_t begin = at;
      term.values.push_back({written(), nullptr});
      if (amountIn(term.values[0].text)) return true;
      at = begin;
      refuse("a number or a size such as 16g");
    }
    return false;
  }

  void equality(Term& term) {
    term.kind = Term::Kind::MATCHES;
    term.negated = take("!=");
    if (!term.negated && !take("==") && !take("=")) {
      refuse("one of ==, !=, <, <=, >, >=, in, not in, exists, not exists");
    }
    term.values.push_back(value(term.key));
  }

  void values(Term& term) {
    if (!take("(")) refuse("'('");
    listed = true;
    do {
      term.values.push_back(value(term.key));
    } while (take(","));
    listed = false;
    if (!take(")")) refuse("',' or ')'");
  }

  Term::Value value(const std::string& key) {
    skip();
    size_t begin = at;
    if (next("/") && key != "node.ip") return pattern();
    auto quoted = next("'") || next("\"");
    if (next("~")) refuse("a value; what is only preferred ends in a weight, as ' ~ 10',");
    auto text = written();
    if (text.empty()) {
      at = begin;
      refuse("a value");
    }
    if (quoted || text.find('*') == std::string::npos) return {text, nullptr};
    std::string glob = "(?i)^";
    for (char c : text) {
      glob += c == '*' ? std::string(".*") : RE2::QuoteMeta(std::string(1, c));
    }
    return {text, compiled(glob + "$", begin)};
  }

  // /…/
  Term::Value pattern() {
    size_t begin = at++;
    std::string regex;
    while (at < text.size() && text[at] != '/') {
      if (text[at] == '\\' && at + 1 < text.size() && text[at + 1] == '/') ++at;
      regex += text[at++];
    }
    if (at == text.size()) refuse("'/'");
    ++at;
    return {"/" + regex + "/", compiled(regex, begin)};
  }

  std::shared_ptr<const RE2> compiled(const std::string& regex, size_t begin) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(PATTERN_BYTES);
    auto pattern = std::make_shared<RE2>(regex, options);
    if (!pattern->ok()) {
      at = begin;
      refuse(kj::str("a regular expression (", pattern->error().c_str(), ")"));
    }
    return pattern;
  }

  // A value as it is written, to the end of its term; or what is between quotes.
  std::string written() {
    skip();
    if (at < text.size() && (text[at] == '\'' || text[at] == '"')) {
      char quote = text[at++];
      auto end = text.find(quote, at);
      if (end == std::string_view::npos) refuse("the end of the quotes");
      auto inside = std::string(text.substr(at, end - at));
      at = end + 1;
      return inside;
    }
    size_t begin = at;
    while (at < text.size() && !isEnd()) ++at;
    auto result = text.substr(begin, at - begin);
    while (!result.empty() && result.back() == ' ') result.remove_suffix(1);
    return std::string(result);
  }

  bool isEnd() const {
    auto rest = text.substr(at);
    return rest.starts_with("&&") || rest.starts_with("||") || rest[0] == ')' ||
           (listed && rest[0] == ',');
  }

  void skip() {
    while (at < text.size() && text[at] == ' ') ++at;
  }
  bool next(std::string_view word) {
    skip();
    return text.substr(at).starts_with(word);
  }
  bool take(std::string_view word) {
    if (!next(word)) return false;
    at += word.size();
    return true;
  }
  // One that is not the beginning of a longer one.
  bool takeWord(std::string_view word) {
    if (!next(word)) return false;
    auto rest = text.substr(at + word.size());
    if (!rest.empty() && rest[0] != ' ' && rest[0] != '(' && rest[0] != ')') return false;
    at += word.size();
    return true;
  }

  std::string_view text;
  const Dialect& dialect;
  size_t at = 0;
  int depth = 0;
  bool listed = false;  // within the values of `in`
};

void addKeys(const Term& term, std::vector<std::string>& keys) {
  bool isNew = std::find(keys.begin(), keys.end(), term.key) == keys.end();
  if (!term.key.empty() && isNew) keys.push_back(term.key);
  for (auto& part : term.parts) addKeys(*part, keys);
}

bool anyNegated(const Term& term) {
  return term.negated || std::any_of(term.parts.begin(), term.parts.end(),
                                     [](auto& part) { return anyNegated(*part); });
}

}  // namespace

bool Expression::Term::matches(const std::string& actual) const {
  for (auto& value : values) {
    if (value.pattern != nullptr) {
      if (RE2::PartialMatch(actual, *value.pattern)) return true;
    } else if (strcasecmp(actual.c_str(), value.text.c_str()) == 0) {
      return true;
    } else if (key == "node.ip" && isInSubnet(actual, value.text)) {
      return true;
    }
  }
  return false;
}

bool Expression::Term::compares(const std::string& actual) const {
  auto has = amountIn(actual);
  auto wanted = amountIn(values[0].text);
  if (!has || !wanted) return false;
  switch (order) {
    case Order::LESS:
      return *has < *wanted;
    case Order::LESS_EQUAL:
      return *has <= *wanted;
    case Order::MORE:
      return *has > *wanted;
    case Order::MORE_EQUAL:
      return *has >= *wanted;
  }
  return false;
}

bool Expression::Term::isMetBy(Expression::LookUp& lookUp) const {
  if (kind == Kind::ALL || kind == Kind::ANY) {
    for (auto& part : parts) {
      if (part->isMetBy(lookUp) == (kind == Kind::ANY)) return kind == Kind::ANY;
    }
    return kind == Kind::ALL;
  }
  auto actual = lookUp(key);
  bool met = kind == Kind::EXISTS    ? !actual.empty()
             : kind == Kind::MATCHES ? matches(actual)
                                     : compares(actual);
  return met != negated;
}

Expression Expression::parse(std::string_view text, const Dialect& dialect) {
  if (text.size() > MAX_LENGTH) {
    fail(kj::str("usage: the ", dialect.noun, " has at most ", MAX_LENGTH, " characters, not ",
                 text.size()));
  }
  return Expression(Parser(text, dialect).parse());
}

bool Expression::isMetBy(LookUp lookUp) const { return root->isMetBy(lookUp); }

std::vector<std::string> Expression::keys() const {
  std::vector<std::string> result;
  addKeys(*root, result);
  return result;
}

bool Expression::isNegated() const { return root->negated; }

bool Expression::hasNegation() const { return anyNegated(*root); }

bool Expression::isPlain(std::string& key, std::string& value) const {
  bool plain = root->kind == Term::Kind::MATCHES && !root->negated && root->values.size() == 1 &&
               root->values[0].pattern == nullptr;
  if (!plain) return false;
  key = root->key;
  value = root->values[0].text;
  return true;
}

}  // namespace orch::filter
