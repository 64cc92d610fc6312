// Gives nodes to the tasks that wait for one: the built-in checks here, the choice by the strategy
// plugin that the service names, one call per group of equal tasks.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include <map>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/scheduler.capnp.h"
#include "state/view.h"

namespace orch::control::manager {

class Scheduling final : private kj::TaskSet::ErrorHandler {
 public:
  // `defaultService` is the strategy of services that name none: "scheduler.spread". `submit` has
  // a change made in a later pass.
  using Submit = kj::Function<void(kj::Function<void(View&)>)>;
  // `patience`: how long a strategy is waited for.
  Scheduling(Env& env, Host& host, kj::StringPtr defaultService, Submit submit,
             kj::Duration patience = PASS_LIMIT)
      : env(env),
        host(host),
        defaultService(defaultService),
        submit(kj::mv(submit)),
        patience(patience),
        late(*this) {}
  KJ_DISALLOW_COPY(Scheduling);

  // What a pass, and with it every request, waits for a strategy. One in the kernel answers at
  // once.
  static constexpr kj::Duration PASS_LIMIT = 20 * kj::MILLISECONDS;
  // After so long it does not answer.
  static constexpr kj::Duration ANSWER_LIMIT = 2 * kj::SECONDS;
  // Places what it can of the service's waiting tasks and writes down why the others wait. Fails
  // never. A strategy that takes longer than a pass may wait is not waited for: its answer is
  // submitted when it comes, and nobody asks it anything else until then. One that does not answer
  // is left alone for a while, but for tasks that are newer than its last failure.
  // At most MAX_CHANGED_PER_PASS of a group at once; answers whether there are more.
  Task<bool> place(View& view, std::string serviceId);
  // By what the service's strategy chooses among the candidates, by node; empty if it does not say.
  using Terms = std::vector<std::pair<std::string, int64_t>>;
  Task<std::map<std::string, Terms>> standings(View& view, std::string serviceId,
                                               schema::TaskSpec::Reader spec,
                                               capnp::List<schema::PortSpec>::Reader ports,
                                               std::vector<std::string> candidates);
  // The strategies that there are: `spread`.
  Task<kj::Vector<kj::String>> strategies();

 private:
  struct Group;
  // What a strategy chose, or why there is no choice. Shared by the pass and the one who waits on.
  struct Answer final : public kj::Refcounted {
    std::vector<std::string> nodes;
    kj::String failure;    // empty: it answered
    bool pending = false;  // it has not yet
    kj::Own<Answer> addRef() { return kj::addRef(*this); }
  };
  struct Strategy {
    kj::Maybe<schema::PlacementTable::Client> table;
    bool asked = false;              // its answer is waited for beyond the pass
    std::set<std::string> deferred;  // services that wait for their turn to ask
    bool failed = false;             // the last time it was asked
    bool slow = false;               // the same: it did not answer within the pass
    int64_t failedAtNs = 0;
    int64_t downUntilNs = 0;
    std::string why;
  };
  using TaskIds = std::vector<std::string>;
  using PlaceRequest =
      capnp::Request<schema::PlacementTable::PlaceParams, schema::PlacementTable::PlaceResults>;

  std::string strategyOf(schema::TaskSpec::Reader spec) const;
  Task<bool> placeGroup(View& view, Group& group);
  Task<bool> assignAll(View& view, const Group& group, const std::vector<std::string>& nodes,
                       std::string strategy);
  Task<bool> explainFrom(View& view, const Group& group, size_t first, std::string why);
  // Lets others have their turn. Nobody else changes the view meanwhile.
  kj::Promise<void> others();
  PlaceRequest requestFor(View& view, const Group& group, schema::PlacementTable::Client& table);
  Task<kj::Own<Answer>> ask(PlaceRequest request);
  Task<void> awaitLate(kj::ForkedPromise<kj::Own<Answer>> answer, std::string name,
                       std::string serviceId, TaskIds tasks);
  void noteFailure(Strategy& strategy, const std::string& name, kj::StringPtr reason);
  schema::PlacementTable::Client& tableOf(Strategy& strategy, const std::string& name);
  void fillGroup(const View& view, const Group& group, schema::TaskGroup::Builder message);
  void describeNodes(const View& view, const Group& group, schema::PlacementTable::Client& table);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Host& host;
  kj::StringPtr defaultService;
  Submit submit;
  const kj::Duration patience;
  std::map<std::string, Strategy> known;  // by service name
  kj::TaskSet late;
};

}  // namespace orch::control::manager
