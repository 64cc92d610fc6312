// Of the agent: what the node's tasks use, when somebody asks.
#include "agent.h"
#include "host-usage.h"

namespace orch::control::agent {

namespace {
// A runtime that takes longer is left out: others have answered.
constexpr kj::Duration USAGE_PATIENCE = 1500 * kj::MILLISECONDS;
using UsageAnswer = capnp::Response<schema::Runtime::UsageResults>;
}  // namespace

Task<void> NodeAgent::usage(UsageContext context) {
  auto params = context.getParams();
  std::map<std::string, std::vector<std::string>> byRuntime;
  for (auto id : params.getTaskIds()) {
    auto known = controllers.find(id.cStr());
    if (known == controllers.end()) continue;
    auto runtime = known->second->record().task().getSpec().getRuntime();
    if (runtime.size() > 0) byRuntime[runtime.cStr()].push_back(known->first);
  }
  std::vector<std::pair<std::string, Task<Outcome<UsageAnswer>>>> calls;
  for (auto& [runtime, ids] : byRuntime) {
    auto request = services.runtime(kj::str("runtime.", runtime.c_str())).usageRequest();
    auto list = request.initIds(ids.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, ids[i].c_str());
    kj::Promise<UsageAnswer> sent = request.send();
    auto limited = env.timer().timeoutAfter(USAGE_PATIENCE, kj::mv(sent));
    calls.emplace_back(runtime, attempt(kj::mv(limited)));
  }
  auto results = context.getResults();
  if (params.getHost()) {
    auto reading = env.workers().run([] { return readHostUsage(); });
    auto here = co_await reading;
    auto host = results.initHost();
    host.setAtNs((env.timer().now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS);
    host.setCpuNs(here.cpuNs);
    host.setMemoryBytes(here.memoryBytes);
  }
  std::vector<UsageAnswer> answers;
  std::vector<std::string> problems;
  uint32_t count = 0;
  for (auto& [runtime, call] : calls) {
    auto outcome = co_await kj::mv(call);
    if (outcome.ok()) {
      count += outcome.value().getUsages().size();
      answers.push_back(kj::mv(outcome.value()));
    } else {
      auto why = plainText(outcome.error());
      problems.push_back(kj::str("runtime.", runtime.c_str(), ": ", why).cStr());
    }
  }
  auto list = results.initUsages(count);
  uint32_t next = 0;
  for (auto& answer : answers) {
    for (auto one : answer.getUsages()) list.setWithCaveats(next++, one);
  }
  auto texts = results.initProblems(problems.size());
  for (uint32_t i = 0; i < texts.size(); ++i) texts.set(i, problems[i].c_str());
}

}  // namespace orch::control::agent
