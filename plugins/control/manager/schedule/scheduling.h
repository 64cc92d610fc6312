// Gives nodes to the tasks that wait for one: the checks by what the book says, the choice by the
// strategy plugin that the service names, one call per group of equal tasks.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include <map>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/scheduler.capnp.h"
#include "schedule/filters.h"
#include "schedule/neighbours.h"
#include "schedule/node-book.h"

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
        asker(env, host, this->submit, patience, ANSWER_LIMIT),
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
  // The state was loaded again.
  void forget();
  // Who asks the filters what the pass has to know.
  Filters& filters() { return asker; }
  // Before the service is reconciled: has filters say of all nodes whether it may run there, as far
  // as they answer. Costs what has changed since the last time.
  Task<void> judgeFor(View& view, std::string serviceId);
  // Fails with what is wrong with a constraint or a filter of the spec. Afterwards the view's
  // checks of the spec know what these mean.
  Task<void> checkTerms(const State& state, schema::ServiceSpec::Reader spec);
  // What it knows of the nodes.
  const NodeBook& nodes() const { return book; }
  // Services with tasks that wait for others to be somewhere, since it was asked last.
  std::set<std::string> takeLonely() { return std::exchange(lonely, {}); }
  // The strategies that there are: `spread`.
  Task<kj::Vector<kj::String>> strategies();

 private:
  struct Group;
  using Nodes = std::vector<uint32_t>;  // by number
  // What a strategy chose, or why there is no choice. Shared by the pass and the one who waits on.
  struct Answer final : public kj::Refcounted {
    Nodes nodes;
    kj::String failure;    // empty: it answered
    bool pending = false;  // it has not yet
    kj::Own<Answer> addRef() { return kj::addRef(*this); }
  };
  // What a table has been told.
  struct Told {
    kj::Maybe<schema::PlacementTable::Client> table;
    uint64_t loads = 0;                      // changes in the book up to here
    std::map<uint32_t, uint64_t> divisions;  // versions by id
  };
  struct Strategy {
    Told told;
    bool asked = false;              // its answer is waited for beyond the pass
    std::set<std::string> deferred;  // services that wait for their turn to ask
    bool failed = false;             // the last time it was asked
    bool slow = false;               // the same: it did not answer within the pass
    int64_t failedAtNs = 0;
    int64_t downUntilNs = 0;
    std::string why;
  };
  using Bits = std::vector<uint64_t>;  // of nodes
  // Who has an image, as of a version.
  struct Holders {
    uint64_t version = 0;
    Bits bits;
  };
  static constexpr size_t MAX_IMAGES = 1'024;  // that are kept of it
  using TaskIds = std::vector<std::string>;
  using PlaceRequest =
      capnp::Request<schema::PlacementTable::PlaceParams, schema::PlacementTable::PlaceResults>;

  std::string strategyOf(schema::TaskSpec::Reader spec) const;
  Task<bool> placeGroup(View& view, Group& group);
  Task<const NodeBook::Set*> judge(View& view, const std::string& serviceId,
                                   schema::TaskSpec::Reader spec);
  Task<void> judgeAll(const State& state, schema::TaskSpec::Reader spec);
  Task<void> judgeOwn(View& view, const std::string& serviceId, const Slots& slots);
  bool choose(const View& view, const NodeBook::Set& set, Group& group);
  static void takeWishes(const NodeBook::Set& set, const Neighbours& neighbours, Group& group);
  Task<bool> assignAll(View& view, const Group& group, const Nodes& nodes, std::string strategy);
  void noteAssigned(Told& told, const Nodes& nodes, bool all);
  Task<bool> explainFrom(View& view, const Group& group, size_t first, std::string why);
  // Lets others have their turn. Nobody else changes the view meanwhile.
  kj::Promise<void> others();
  PlaceRequest requestFor(View& view, const Group& group, schema::PlacementTable::Client& table);
  schema::PlacementTable::Client& tableOf(Told& told, const std::string& name);
  Task<kj::Own<Answer>> ask(PlaceRequest request);
  Task<void> awaitLate(kj::ForkedPromise<kj::Own<Answer>> answer, std::string name,
                       std::string serviceId, TaskIds tasks);
  void noteFailure(Strategy& strategy, const std::string& name, kj::StringPtr reason);
  schema::PlacementTable::Client open(const std::string& name);
  const Bits& holdersOf(const View& view, const std::string& digest);
  void fillImages(const View& view, schema::TaskSpec::Reader spec,
                  schema::TaskGroup::Builder message);
  void fillGroup(const View& view, const Group& group, schema::TaskGroup::Builder message);
  Task<void> tell(const View& view, schema::TaskSpec::Reader spec, Told& told,
                  schema::PlacementTable::Client& table);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Host& host;
  kj::StringPtr defaultService;
  Submit submit;
  const kj::Duration patience;
  Filters asker;
  NodeBook book;
  std::map<std::string, Holders> images;  // by digest
  std::map<std::string, Strategy> known;  // by service name
  std::set<std::string> lonely;
  kj::TaskSet late;
};

}  // namespace orch::control::manager
