#include "state/verdicts.h"

#include <algorithm>
#include <charconv>

namespace orch::control::manager {

namespace {
constexpr uint32_t MAX_WEIGHT = 1'000'000;

void trim(std::string_view& text) {
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
}

// Each ends in a NUL, which no label can have.
void append(std::string& all, std::string_view value) {
  all += value.substr(0, value.find('\0'));
  all += '\0';
}
std::string joined(const std::vector<std::string>& values) {
  std::string all;
  for (auto& value : values) append(all, value);
  return all;
}
std::vector<std::string> apart(std::string_view all) {
  std::vector<std::string> values;
  for (; !all.empty(); all.remove_prefix(values.back().size() + 1)) {
    values.emplace_back(all.substr(0, all.find('\0')));
  }
  return values;
}
}  // namespace

std::string_view withoutWeight(std::string_view text, uint32_t& weight) {
  weight = 0;
  auto rest = text;
  trim(rest);
  auto end = rest.find_last_not_of("0123456789");
  if (end == std::string_view::npos) return text;
  auto digits = rest.substr(end + 1);
  rest.remove_suffix(digits.size());
  trim(rest);
  if (!rest.ends_with(" ~")) return text;
  rest.remove_suffix(2);
  trim(rest);
  uint32_t number = 1;
  if (!digits.empty()) {
    auto parsed = std::from_chars(digits.begin(), digits.end(), number);
    if (parsed.ec != std::errc() || number == 0 || number > MAX_WEIGHT) return text;
  }
  weight = number;
  return rest;
}

Term termOf(std::string_view text, bool isConstraint) {
  Term term;
  auto rest = withoutWeight(text, term.weight);
  term.filter = "constraint";
  if (!isConstraint) {
    auto colon = std::min(rest.find(':'), rest.size());
    term.filter = rest.substr(0, colon);
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  term.expression = rest;
  term.wanting = "the filter " + term.filter + " has not answered";
  return term;
}

bool Verdicts::knows(const Entries& entries, std::string_view text) {
  auto it = entries.find(text);
  return it != entries.end() && it->second->known && it->second->failure.empty();
}

Verdicts::Entry& Verdicts::entryOf(Entries& entries, std::string_view text, bool isConstraint) {
  auto it = entries.find(text);
  if (it == entries.end()) {
    it = entries.emplace(text, std::make_shared<Entry>()).first;
    static_cast<Term&>(*it->second) = termOf(text, isConstraint);
  }
  auto& entry = *it->second;
  entry.usedAt = ++uses;
  if (!entry.known && !entry.asked && questions.size() < MAX_QUESTIONS) {
    entry.asked = true;
    questions.push_back({it->second, true, {}});
  }
  return entry;
}

uint8_t Verdicts::codeOf(Entry& entry, LookUp lookUp) {
  if (!entry.known) return UNKNOWN;
  if (!entry.failure.empty()) return 1;
  std::string all;
  for (auto& key : entry.keys) append(all, lookUp(key));
  auto it = entry.codes.find(all);
  if (it != entry.codes.end()) return it->second == ASKED ? UNKNOWN : it->second;
  if (questions.size() >= MAX_QUESTIONS) return UNKNOWN;
  questions.push_back({entry.shared_from_this(), false, apart(all)});
  entry.codes.emplace(std::move(all), ASKED);
  return UNKNOWN;
}

std::string_view Verdicts::wordsOf(const Term& term, uint8_t code) {
  if (code == UNKNOWN) return term.wanting;
  if (!term.failure.empty()) return term.failure;
  return term.refusals[std::min<size_t>(code, term.refusals.size()) - 1];
}

void Verdicts::learn(Entry& entry, schema::Rule::Reader rule) {
  entry.known = true;
  entry.failure.clear();
  entry.meantAt = 0;
  entry.ofNodes.clear();
  entry.keys.clear();
  entry.refusals.clear();
  entry.subject = rule.getSubject();
  for (auto key : rule.getKeys()) entry.keys.emplace_back(key.cStr());
  for (auto words : rule.getRefusals()) entry.refusals.emplace_back(words.cStr());
  if (entry.refusals.empty()) {
    entry.refusals.push_back("the filter " + entry.filter + " refuses " + entry.expression);
  }
  entry.remedyKey = rule.getRemedy().getKey().cStr();
  entry.remedyValue = rule.getRemedy().getValue().cStr();
}

void Verdicts::learn(const Question& question, uint8_t code) {
  question.of->codes[joined(question.values)] = std::min(code, HIGHEST);
}

void Verdicts::forget(const Question& question) {
  if (question.parses) {
    question.of->asked = false;
  } else {
    question.of->codes.erase(joined(question.values));
  }
}

void Verdicts::shrink() {
  std::vector<uint64_t> uses;
  size_t answers = 0;
  for (auto entries : {&constraints, &filters}) {
    for (auto& entry : *entries) {
      uses.push_back(entry.second->usedAt);
      answers += entry.second->codes.size();
    }
  }
  if (uses.size() <= MAX_TERMS && answers <= MAX_ANSWERS) return;
  auto middle = uses.begin() + static_cast<ptrdiff_t>(uses.size() / 2);
  std::nth_element(uses.begin(), middle, uses.end());
  for (auto entries : {&constraints, &filters}) {
    std::erase_if(*entries, [&](auto& entry) { return entry.second->usedAt < *middle; });
  }
}

}  // namespace orch::control::manager
