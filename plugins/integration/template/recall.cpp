#include "recall.h"

#include "language/cases.h"
#include "orch/attempt.h"

namespace orch::integration::templates {

namespace {

// Those in the folder itself, or all below it.
Value pairsBelow(const Value& all, bool wholeTree) {
  std::vector<Value> pairs;
  for (auto& pair : all.items().items) {
    auto& key = pair.fields().find("Key")->text();
    bool folder = key.empty() || key.ends_with('/');
    bool deep = key.find('/') != std::string::npos;
    if (!folder && (wholeTree || !deep)) pairs.push_back(pair);
  }
  return Value::list(std::move(pairs));
}

class Recall final : public World {
 public:
  Recall(const Answers& answers, const Variables& variables, int64_t nowNs, Rendered& rendered)
      : answers(answers), variables(variables), now(nowNs), rendered(rendered) {}

  Value ask(Call& call) override {
    std::string_view function = call.function;
    std::vector<std::string> texts;
    for (auto& argument : call.arguments) {
      if (argument.is(Value::Kind::STRING)) texts.push_back(argument.text());
    }
    bool needsArgument = function != "services" && function != "node" && function != "nodes" &&
                         function != "datacenters";
    bool nothing = needsArgument && (texts.empty() || texts[0].empty());
    if (function.starts_with("key")) return key(call, texts, nothing);
    if (function == "file") return nothing ? Value("") : file(call, texts[0]);
    if (nothing) return Value::list({});
    if (function == "ls" || function == "safeLs") return keys(call, texts, false);
    if (function == "tree" || function == "safeTree") return keys(call, texts, true);
    Value none = function == "node" ? Value() : Value::list({});
    auto* found = look(query(call, function, texts));
    return found != nullptr ? *found : none;
  }
  std::optional<std::string> env(const std::string& name) override {
    auto found = variables.find(name);
    if (found == variables.end()) return {};
    return found->second;
  }
  int64_t nowNs() override { return now; }

 private:
  Query query(Call& call, std::string_view function, const std::vector<std::string>& texts) {
    std::string problem;
    auto result = queryOf(function, texts, problem);
    if (!problem.empty()) call.wrong(problem);
    return result;
  }
  const Value* look(const Query& query) {
    rendered.used.insert(query);
    auto found = answers.find(query);
    if (found != answers.end()) return &found->second;
    rendered.missing.insert(query);
    return nullptr;
  }
  // `key` waits for its key, the others go on without.
  Value key(Call& call, const std::vector<std::string>& texts, bool nothing) {
    bool exists = call.function == std::string_view("keyExists");
    bool hasDefault = call.function == std::string_view("keyOrDefault");
    Value none = exists ? Value(false) : hasDefault ? Value(texts[1]) : Value("");
    if (nothing) return none;
    auto asked = query(call, "key", {texts[0]});
    auto* found = look(asked);
    if (found == nullptr) return none;
    if (exists) return !found->isNil();
    if (hasDefault) return found->isTrue() ? *found : none;
    if (found->isNil()) rendered.missing.insert(asked);
    return found->isNil() ? none : *found;
  }
  Value keys(Call& call, const std::vector<std::string>& texts, bool wholeTree) {
    bool safe = std::string_view(call.function).starts_with("safe");
    auto asked = query(call, "ls", texts);
    auto* found = look(asked);
    if (found == nullptr) return Value::list({});
    auto pairs = pairsBelow(*found, wholeTree);
    if (safe && !pairs.isTrue()) rendered.missing.insert(asked);
    return pairs;
  }
  Value file(Call& call, const std::string& path) {
    auto* found = look(query(call, "file", {std::string(stripped(path))}));
    return found != nullptr ? *found : Value("");
  }

  const Answers& answers;
  const Variables& variables;
  int64_t now;
  Rendered& rendered;
};

}  // namespace

Rendered renderWith(const Tree& tree, const Answers& answers, const Variables& variables,
                    int64_t nowNs, const RenderOptions& options) {
  Rendered rendered;
  Recall recall(answers, variables, nowNs, rendered);
  auto outcome = attemptNow([&] { return render(tree, recall, options); });
  if (outcome.ok()) {
    rendered.text = std::move(outcome.value());
  } else {
    rendered.problem = outcome.message().cStr();
  }
  return rendered;
}

}  // namespace orch::integration::templates
