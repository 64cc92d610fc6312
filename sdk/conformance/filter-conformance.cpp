#include "orch/conformance/filter-conformance.h"

#include <kj/debug.h>

#include <set>
#include <string>

namespace orch::conformance {

namespace {

constexpr uint8_t HIGHEST_CODE = 250;

using ParsedRule = capnp::Response<schema::Filter::ParseResults>;
using FilterCodes = std::vector<uint8_t>;

struct FilterQuestion {
  const char* expression;
  std::vector<const char*> values;
};

ParsedRule parseRule(schema::Filter::Client filter, const char* expression,
                     kj::WaitScope& waitScope) {
  auto request = filter.parseRequest();
  request.setExpression(expression);
  return request.send().wait(waitScope);
}

FilterCodes checkFilter(schema::Filter::Client filter, const std::vector<FilterQuestion>& asked,
                        kj::WaitScope& waitScope) {
  auto request = filter.checkRequest();
  auto list = request.initQuestions(asked.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setExpression(asked[i].expression);
    auto values = list[i].initValues(asked[i].values.size());
    for (uint32_t k = 0; k < values.size(); ++k) values.set(k, asked[i].values[k]);
  }
  auto answer = request.send().wait(waitScope);
  FilterCodes codes;
  for (auto code : answer.getCodes()) codes.push_back(code);
  KJ_REQUIRE(codes.size() == asked.size(), "not every question has an answer", codes.size(),
             asked.size());
  return codes;
}

bool refusesQuestions(schema::Filter::Client filter, const std::vector<FilterQuestion>& asked,
                      kj::WaitScope& waitScope) {
  return kj::runCatchingExceptions([&]() { checkFilter(filter, asked, waitScope); }) != nullptr;
}

std::vector<FilterQuestion> questionsOf(const FilterTable& table) {
  std::vector<FilterQuestion> asked;
  for (auto& one : table.cases) asked.push_back({one.expression, one.values});
  return asked;
}

void filterRules(schema::Filter::Client filter, const FilterTable& table,
                 kj::WaitScope& waitScope) {
  for (auto& one : table.cases) {
    KJ_CONTEXT(one.expression);
    auto answer = parseRule(filter, one.expression, waitScope);
    auto rule = answer.getRule();
    std::set<std::string> keys;
    for (auto key : rule.getKeys()) {
      KJ_REQUIRE(key.size() > 0, "a key without a name");
      KJ_REQUIRE(keys.insert(key.cStr()).second, "a key is named twice", key);
    }
    KJ_REQUIRE(keys.size() == one.values.size(), "the table has other values than the rule keys");
    KJ_REQUIRE(rule.getRefusals().size() > 0, "no words for a refusal");
    KJ_REQUIRE(rule.getRefusals().size() <= HIGHEST_CODE, "more refusals than codes");
    for (auto words : rule.getRefusals()) KJ_REQUIRE(words.size() > 0, "a refusal without words");
    bool named =
        rule.getRemedy().getKey().size() == 0 || keys.count(rule.getRemedy().getKey().cStr()) > 0;
    KJ_REQUIRE(named, "the remedy is of a key that it does not look at");
  }
}

void filterRefusals(schema::Filter::Client filter, const FilterTable& table,
                    kj::WaitScope& waitScope) {
  std::string endless(1'025, 'a');
  auto refused = table.refused;
  refused.push_back(endless.c_str());
  for (auto text : refused) {
    KJ_CONTEXT(text);
    auto failed = kj::runCatchingExceptions([&]() { parseRule(filter, text, waitScope); });
    auto& exception = KJ_REQUIRE_NONNULL(failed, "it was taken");
    std::string said = exception.getDescription().cStr();
    KJ_REQUIRE(said.find("usage: ") != std::string::npos,
               "the refusal does not say that the user is wrong", said);
    KJ_REQUIRE(refusesQuestions(filter, {{text, {}}}, waitScope),
               "it means nothing, but was answered");
  }
  if (!table.cases.empty()) checkFilter(filter, questionsOf(table), waitScope);
}

void filterMeanings(schema::Filter::Client filter, const FilterTable& table,
                    kj::WaitScope& waitScope) {
  for (auto& one : table.cases) {
    KJ_CONTEXT(one.expression, one.values.empty() ? "" : one.values[0]);
    auto code = checkFilter(filter, {{one.expression, one.values}}, waitScope)[0];
    KJ_REQUIRE((code == 0) == one.met, "another answer than the table's", code);
    auto answer = parseRule(filter, one.expression, waitScope);
    KJ_REQUIRE(code <= answer.getRule().getRefusals().size(), "a code without words", code);
  }
}

void sameVerdict(schema::Filter::Client filter, const FilterTable& table,
                 kj::WaitScope& waitScope) {
  auto asked = questionsOf(table);
  auto together = checkFilter(filter, asked, waitScope);
  KJ_REQUIRE(together == checkFilter(filter, asked, waitScope),
             "the same questions, other answers");
  for (size_t i = asked.size(); i-- > 0;) {
    KJ_REQUIRE(checkFilter(filter, {asked[i]}, waitScope)[0] == together[i],
               "alone it is answered otherwise than among others", asked[i].expression);
  }
}

void manyQuestions(schema::Filter::Client filter, const FilterTable& table,
                   kj::WaitScope& waitScope) {
  auto asked = questionsOf(table);
  auto first = checkFilter(filter, asked, waitScope);
  std::vector<FilterQuestion> all;
  while (all.size() < 1'000) all.push_back(asked[all.size() % asked.size()]);
  auto codes = checkFilter(filter, all, waitScope);
  for (size_t i = 0; i < codes.size(); ++i) {
    KJ_REQUIRE(codes[i] == first[i % first.size()], "of many one is answered otherwise", i);
  }
  KJ_REQUIRE(checkFilter(filter, {}, waitScope).empty());
}

void anyFilterValues(schema::Filter::Client filter, const FilterTable& table,
                     kj::WaitScope& waitScope) {
  std::string longOne(100'000, '7');
  for (auto& one : table.cases) {
    KJ_CONTEXT(one.expression);
    for (auto value : {"", " ", "\xc3\xa4", "-1", "1e400", "999999999999999999999999g",
                       "255.255.255.256/33", "((((", longOne.c_str()}) {
      std::vector<const char*> values(one.values.size(), value);
      checkFilter(filter, {{one.expression, values}}, waitScope);
    }
    auto more = one.values;
    more.push_back("another");
    KJ_REQUIRE(refusesQuestions(filter, {{one.expression, more}}, waitScope),
               "more values than keys were taken");
  }
  checkFilter(filter, questionsOf(table), waitScope);
}

const FilterCheck FILTER_CHECKS[] = {
    {"questions are answered before anything was parsed, as after a restart", filterMeanings},
    {"a rule names its keys once, has words for a refusal, and a remedy of its keys", filterRules},
    {"what means nothing is refused as the user's mistake, and changes nothing", filterRefusals},
    {"an answer depends on the question alone", sameVerdict},
    {"a thousand questions at once are answered in their order", manyQuestions},
    {"any text may be a value; not as many as there are keys are refused", anyFilterValues},
};

}  // namespace

kj::ArrayPtr<const FilterCheck> filterChecks() { return FILTER_CHECKS; }

}  // namespace orch::conformance
