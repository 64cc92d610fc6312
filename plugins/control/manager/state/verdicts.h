// What filters have said of the terms of services, kept so that a pass need not wait for plugins.
// An answer depends on the values of the keys that a term looks at and on nothing else: it holds
// for every view, and for every node with the same values. Whoever asks for one that is not there
// gets UNKNOWN, and the question is written down; the one who waits for plugins
// (schedule/filters.h) has it answered, and then it is asked again.
#pragma once

#include <kj/function.h>
#include <kj/refcount.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "orch/schema/filter.capnp.h"
#include "orch/schema/objects.capnp.h"

namespace orch::control::manager {

// One constraint or filter of a service.
struct Term {
  using Subject = schema::Rule::Subject;

  std::string filter;      // `constraint`
  std::string expression;  // without its weight
  uint32_t weight = 0;     // 0: it must be met
  std::string wanting;     // in words, while it is not known

  bool known = false;   // the filter has parsed it
  std::string failure;  // it was taken once, and is not any more; else empty
  Subject subject = Subject::NODE;
  std::vector<std::string> keys;
  std::vector<std::string> refusals;
  std::string remedyKey, remedyValue;
};

// Shared by the state that it belongs to and the answers that are waited for.
class Verdicts final : public kj::Refcounted {
 public:
  // Of terms, and of answers to all of them; past it those that were used last stay.
  static constexpr size_t MAX_TERMS = 4'096;
  static constexpr size_t MAX_ANSWERS = 1'000'000;
  // That are written down at once.
  static constexpr size_t MAX_QUESTIONS = 10'000;

  static constexpr uint8_t MET = 0;
  static constexpr uint8_t HIGHEST = 250;  // of what a filter may answer
  static constexpr uint8_t UNKNOWN = 255;

  struct Entry final : Term, std::enable_shared_from_this<Entry> {
    uint64_t meantAt = 0;            // change of the state's services; 0: not all are known
    std::vector<std::string> meant;  // those that are so then, of a term about services
    std::unordered_map<std::string, uint8_t> codes;  // by the values, joined
    std::vector<uint8_t> ofNodes;  // by number, as of a change of the state's nodes; UNKNOWN: look
    uint64_t nodesAt = 0;
    uint64_t usedAt = 0;
    bool asked = false;  // to be parsed
  };
  struct Question {
    std::shared_ptr<Entry> of;  // of the table, and of the questions about it
    bool parses = false;        // what the term means; else whether it is so with these
    std::vector<std::string> values;
  };

  // `text` as it stands in the spec, of its constraints or of its filters. A term that is not known
  // is asked for.
  Entry& constraint(std::string_view text) { return entryOf(constraints, text, true); }
  Entry& filter(std::string_view text) { return entryOf(filters, text, false); }
  // Whether it is known already. Asks for nothing.
  bool knowsConstraint(std::string_view text) const { return knows(constraints, text); }
  bool knowsFilter(std::string_view text) const { return knows(filters, text); }
  // MET, a code of the term's refusals, or UNKNOWN.
  using LookUp = kj::FunctionParam<std::string(const std::string& key)>;
  uint8_t codeOf(Entry& entry, LookUp lookUp);
  // What keeps a node from the task, by the code. Valid as long as the entry.
  static std::string_view wordsOf(const Term& term, uint8_t code);

  bool open() const { return !questions.empty(); }
  std::vector<Question> takeQuestions() { return std::exchange(questions, {}); }
  static void learn(Entry& entry, schema::Rule::Reader rule);
  static void learn(const Question& question, uint8_t code);
  // It was not answered: to be asked again when somebody needs it.
  static void forget(const Question& question);
  // Something was learned: there may be too much.
  void shrink();

  kj::Own<Verdicts> addRef() { return kj::addRef(*this); }

 private:
  using Entries = std::map<std::string, std::shared_ptr<Entry>, std::less<>>;
  static constexpr uint8_t ASKED = 254;

  Entry& entryOf(Entries& entries, std::string_view text, bool isConstraint);
  static bool knows(const Entries& entries, std::string_view text);

  Entries constraints;
  Entries filters;
  std::vector<Question> questions;
  uint64_t uses = 0;
};

// What stands in the text of a term, of a spec's constraints or of its filters.
Term termOf(std::string_view text, bool isConstraint);
// A term's text without its weight (` ~ 10`; ` ~` alone is 1), and that; 0: it has none. 1 to
// 1'000'000, else it is part of the text.
std::string_view withoutWeight(std::string_view text, uint32_t& weight);

// All of a placement's terms.
template <typename F>
void eachTerm(Verdicts& verdicts, schema::Placement::Reader placement, F&& use) {
  for (auto text : placement.getConstraints()) {
    use(verdicts.constraint(std::string_view(text.begin(), text.size())));
  }
  for (auto text : placement.getFilters()) {
    use(verdicts.filter(std::string_view(text.begin(), text.size())));
  }
}
inline bool hasTerms(schema::Placement::Reader placement) {
  return placement.getConstraints().size() > 0 || placement.getFilters().size() > 0;
}

}  // namespace orch::control::manager
