// Asks filter plugins what passes have to know of them (state/verdicts.h).
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include <map>
#include <set>

#include "orch/attempt.h"
#include "orch/env.h"
#include "orch/host.h"
#include "state/view.h"

namespace orch::control::manager {

class Filters final : private kj::TaskSet::ErrorHandler {
 public:
  // As Scheduling's.
  using Submit = kj::Function<void(kj::Function<void(View&)>)>;
  Filters(Env& env, Host& host, Submit& submit, kj::Duration patience, kj::Duration answerLimit)
      : env(env),
        host(host),
        submit(submit),
        patience(patience),
        answerLimit(answerLimit),
        late(*this) {}
  KJ_DISALLOW_COPY(Filters);

  // Puts all that is open. False if somebody did not answer, or not within a pass: then the
  // questions are open again when they are asked next, or have an answer when it comes, and the
  // service is looked at again.
  Task<bool> answer(const State& state, std::string serviceId = std::string());
  // Fails with what is wrong with a term of the placement, or if its filter is not there.
  // Afterwards its terms are known.
  Task<void> check(const State& state, schema::Placement::Reader placement);

 private:
  using Questions = std::vector<Verdicts::Question>;
  struct Filter {
    bool failed = false;  // the last time it was asked
    bool slow = false;    // the same: not within a pass
  };
  enum class Answered : uint8_t { ALL, NOT_ALL, LATER };

  Task<Answered> ask(std::string filter, Questions questions, kj::Own<Verdicts> verdicts);
  using Parsed = Outcome<capnp::Response<schema::Filter::ParseResults>>;
  using Checked = Outcome<capnp::Response<schema::Filter::CheckResults>>;
  Task<Parsed> askToParse(schema::Filter::Client filter, std::string expression);
  Task<Checked> askToCheck(schema::Filter::Client filter, const Questions& questions, size_t first,
                           size_t count);
  Task<bool> parse(schema::Filter::Client filter, Verdicts::Question& question, std::string& why);
  Task<bool> checkSome(schema::Filter::Client filter, const Questions& questions, size_t first,
                       std::string& why);
  Task<void> learn(kj::Own<Verdicts> verdicts, std::string text, bool isConstraint);
  Task<void> requireFilter(kj::StringPtr name, kj::StringPtr flag);
  void note(const std::string& filter, const std::string& why);
  template <typename T>
  kj::Promise<T> limited(kj::Promise<T> sent);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Host& host;
  Submit& submit;
  const kj::Duration patience;
  const kj::Duration answerLimit;
  std::map<std::string, Filter> known;
  kj::TaskSet late;
};

}  // namespace orch::control::manager
