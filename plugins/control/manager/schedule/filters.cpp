#include "schedule/filters.h"

#include <kj/debug.h>
#include <kj/encoding.h>

#include <algorithm>

#include "orch/fail.h"
#include "serve/validate.h"

namespace orch::control::manager {

namespace {
// What is not is refused anyway.
bool isText(capnp::Text::Reader text) {
  return !kj::encodeUtf32(text).hadErrors && text.findFirst('\0') == nullptr;
}

constexpr size_t CHECKED_AT_ONCE = 1'000;  // as the kind promises
constexpr kj::StringPtr FILTERS = "filter."_kj;
constexpr kj::StringPtr USAGE = "usage: "_kj;
constexpr int MAX_TRIES = 2;

template <typename T>
bool wasCutOff(Outcome<T>& answer) {
  return !answer.ok() && answer.error().getType() == kj::Exception::Type::DISCONNECTED;
}
}  // namespace

template <typename T>
kj::Promise<T> Filters::limited(kj::Promise<T> sent) {
  auto timeUp = env.timer().afterDelay(answerLimit).then([]() -> T {
    kj::throwFatalException(
        KJ_EXCEPTION(OVERLOADED, "nothing within 2 s; does it run? see 'orch plugin ls'"));
  });
  return sent.exclusiveJoin(kj::mv(timeUp));
}

// Once more if its plugin has just ended: it is started again, and has lost nothing.
Task<Filters::Parsed> Filters::askToParse(schema::Filter::Client filter, std::string expression) {
  for (int tries = 1;; ++tries) {
    auto request = filter.parseRequest();
    request.setExpression(expression.c_str());
    kj::Promise<capnp::Response<schema::Filter::ParseResults>> sent = request.send();
    auto answer = co_await attempt(limited(kj::mv(sent)));
    if (tries == MAX_TRIES || !wasCutOff(answer)) co_return kj::mv(answer);
  }
}

// False if there is no answer.
Task<bool> Filters::parse(schema::Filter::Client filter, Verdicts::Question& question,
                          std::string& why) {
  auto answer = co_await askToParse(filter, question.of->expression);
  if (answer.ok()) {
    Verdicts::learn(*question.of, answer.value().getRule());
    co_return true;
  }
  why = answer.message().cStr();
  if (!answer.message().startsWith(USAGE)) co_return false;
  // Another version of it has taken that once.
  question.of->known = true;
  question.of->failure = why.substr(USAGE.size());
  co_return true;
}

Task<Filters::Checked> Filters::askToCheck(schema::Filter::Client filter,
                                           const Questions& questions, size_t first, size_t count) {
  for (int tries = 1;; ++tries) {
    auto request = filter.checkRequest();
    auto list = request.initQuestions(count);
    for (uint32_t i = 0; i < count; ++i) {
      auto& question = questions[first + i];
      list[i].setExpression(question.of->expression.c_str());
      auto values = list[i].initValues(question.values.size());
      for (uint32_t k = 0; k < values.size(); ++k) values.set(k, question.values[k].c_str());
    }
    kj::Promise<capnp::Response<schema::Filter::CheckResults>> sent = request.send();
    auto answer = co_await attempt(limited(kj::mv(sent)));
    if (tries == MAX_TRIES || !wasCutOff(answer)) co_return kj::mv(answer);
  }
}

Task<bool> Filters::checkSome(schema::Filter::Client filter, const Questions& questions,
                              size_t first, std::string& why) {
  auto count = std::min(questions.size() - first, CHECKED_AT_ONCE);
  auto answer = co_await askToCheck(filter, questions, first, count);
  if (!answer.ok()) {
    why = answer.message().cStr();
    co_return false;
  }
  auto codes = answer.value().getCodes();
  if (codes.size() != count) {
    why = "answers " + std::to_string(codes.size()) + " of " + std::to_string(count) + " questions";
    co_return false;
  }
  for (uint32_t i = 0; i < count; ++i) Verdicts::learn(questions[first + i], codes[i]);
  co_return true;
}

// Never fails.
Task<Filters::Answered> Filters::ask(std::string filter, Questions questions,
                                     kj::Own<Verdicts> verdicts) {
  auto client = host.service<schema::Filter>(kj::str(FILTERS, filter.c_str()));
  auto checks = std::stable_partition(questions.begin(), questions.end(),
                                      [](auto& question) { return question.parses; });
  Questions values(checks, questions.end());
  questions.erase(checks, questions.end());
  bool all = true;
  std::string why;
  for (auto& question : questions) {
    if (question.of->known) continue;
    bool answered = all;  // one that does not answer is not asked the rest
    if (answered) answered = co_await parse(client, question, why);
    if (!answered) Verdicts::forget(question);
    all &= answered;
  }
  for (size_t first = 0; first < values.size(); first += CHECKED_AT_ONCE) {
    bool answered = all;
    if (answered) answered = co_await checkSome(client, values, first, why);
    auto end = std::min(values.size(), first + CHECKED_AT_ONCE);
    for (size_t i = first; !answered && i < end; ++i) Verdicts::forget(values[i]);
    all &= answered;
  }
  note(filter, all ? "" : why);
  verdicts->shrink();
  co_return all ? Answered::ALL : Answered::NOT_ALL;
}

void Filters::note(const std::string& filter, const std::string& why) {
  bool failed = std::exchange(known[filter].failed, !why.empty());
  if (why.empty() || failed) return;
  host.log().warn("manager.filter-failed, asking again every 5 s",
                  {{"filter", filter.c_str()}, {"reason", why.c_str()}});
}

Task<bool> Filters::answer(const State& state, std::string serviceId) {
  std::map<std::string, Questions> byFilter;
  for (auto& question : state.verdicts().takeQuestions()) {
    byFilter[question.of->filter].push_back(std::move(question));
  }
  bool all = true;
  for (auto& [name, questions] : byFilter) {
    auto& filter = known[name];
    auto waits = filter.failed || filter.slow ? 0 * kj::MILLISECONDS : patience;
    auto forked = ask(name, std::move(questions), state.verdicts().addRef()).promise().fork();
    auto timeUp = env.timer().afterDelay(waits).then([] { return Answered::LATER; });
    auto either = forked.addBranch().exclusiveJoin(kj::mv(timeUp));
    auto answered = co_await either;
    filter.slow = answered == Answered::LATER;
    all &= answered == Answered::ALL;
    if (!filter.slow) continue;
    late.add(forked.addBranch().then([this, &filter, serviceId](Answered now) {
      filter.slow = false;
      if (now != Answered::ALL || serviceId.empty()) return;
      submit([serviceId](View& view) { view.touch(serviceId); });
    }));
  }
  co_return all;
}

Task<void> Filters::requireFilter(kj::StringPtr name, kj::StringPtr flag) {
  auto request = host.client().servicesRequest();
  request.setPrefix(FILTERS);
  auto answer = co_await request.send();
  std::vector<std::string> names;
  for (auto one : answer.getNames()) names.emplace_back(one.slice(FILTERS.size()).cStr());
  checkFilter(flag, name, names);
}

Task<void> Filters::learn(kj::Own<Verdicts> verdicts, std::string text, bool isConstraint) {
  auto term = termOf(text, isConstraint);
  auto client = host.service<schema::Filter>(kj::str(FILTERS, term.filter.c_str()));
  auto answer = co_await askToParse(client, term.expression);
  if (!answer.ok() && answer.message().startsWith(USAGE)) fail(kj::str(answer.message()));
  if (!answer.ok()) {
    // One that has answered before is being started again, and not among those that there are.
    auto flag = isConstraint ? "--constraint"_kj : "--filter"_kj;
    if (known.count(term.filter) == 0) co_await requireFilter(term.filter.c_str(), flag);
    fail(kj::str("the filter '", term.filter.c_str(), "' cannot say what '",
                 term.expression.c_str(), "' means: ", answer.message()));
  }
  known.try_emplace(term.filter);
  auto& entry = isConstraint ? verdicts->constraint(text) : verdicts->filter(text);
  Verdicts::learn(entry, answer.value().getRule());
}

Task<void> Filters::check(const State& state, schema::Placement::Reader placement) {
  auto verdicts = state.verdicts().addRef();
  for (auto constraint : placement.getConstraints()) {
    bool known = !isText(constraint) || verdicts->knowsConstraint(manager::view(constraint));
    if (!known) co_await learn(verdicts->addRef(), text(constraint), true);
  }
  for (auto filter : placement.getFilters()) {
    bool known = !isText(filter) || verdicts->knowsFilter(manager::view(filter));
    if (!known) co_await learn(verdicts->addRef(), text(filter), false);
  }
}

void Filters::taskFailed(kj::Exception&& exception) {
  host.log().error("manager.pass-failed", {{"reason", plainText(exception)}});
}

}  // namespace orch::control::manager
