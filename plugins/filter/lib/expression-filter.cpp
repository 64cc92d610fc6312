#include "lib/expression-filter.h"

#include <map>

#include "orch/fail.h"

namespace orch::filter {

namespace {

class ExpressionFilter final : public schema::Filter::Server {
 public:
  explicit ExpressionFilter(const Meaning& meaning) : meaning(meaning) {}

  kj::Promise<void> parse(ParseContext context) override {
    auto text = context.getParams().getExpression();
    meaning.describe(text, parsed(text).expression, context.getResults().initRule());
    return kj::READY_NOW;
  }

  kj::Promise<void> check(CheckContext context) override {
    auto questions = context.getParams().getQuestions();
    auto codes = context.getResults().initCodes(questions.size());
    for (uint32_t i = 0; i < codes.size(); ++i) {
      auto& asked = parsed(questions[i].getExpression());
      auto values = questions[i].getValues();
      if (values.size() != asked.keys.size()) {
        fail(kj::str("a question of '", questions[i].getExpression(), "' has ", values.size(),
                     " values, not ", asked.keys.size()));
      }
      codes.set(i, meaning.holds(asked.expression, asked.keys, values) ? 0 : 1);
    }
    return kj::READY_NOW;
  }

 private:
  static constexpr size_t MAX_PARSED = 1'024;
  struct Parsed {
    Expression expression;
    std::vector<std::string> keys;
  };

  const Parsed& parsed(capnp::Text::Reader text) {
    std::string_view key(text.begin(), text.size());
    auto it = known.find(key);
    if (it != known.end()) return it->second;
    auto expression = Expression::parse(key, meaning.dialect());
    auto keys = expression.keys();
    if (known.size() >= MAX_PARSED) known.clear();
    return known.emplace(key, Parsed{kj::mv(expression), kj::mv(keys)}).first->second;
  }

  const Meaning& meaning;
  std::map<std::string, Parsed, std::less<>> known;
};

}  // namespace

schema::Filter::Client newFilter(const Meaning& meaning) {
  return kj::heap<ExpressionFilter>(meaning);
}

}  // namespace orch::filter
