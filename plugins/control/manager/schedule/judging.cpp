// What scheduling has to have asked of others before it can decide.
#include "decide/slot-rules.h"
#include "schedule/assigning.h"
#include "schedule/scheduling.h"

namespace orch::control::manager {

// What filters say of the nodes that tasks of the service are for.
Task<void> Scheduling::judgeOwn(View& view, const std::string& serviceId, const Slots& slots) {
  for (bool asks = true; asks;) {
    for (auto& slot : slots) {
      for (auto& task : slot.tasks) {
        if (!isUnplaced(task) || task.getNodeId().size() == 0) continue;
        KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
          unmetTerm(view, *node, specFor(view, task));
        }
      }
    }
    asks = view.base().verdicts().open();
    if (!asks) co_return;
    asks = co_await asker.answer(view.base(), serviceId);
  }
  view.wakeAt(serviceId, view.now() + ASK_AGAIN_NS);
}

Task<void> Scheduling::judgeAll(const State& state, schema::TaskSpec::Reader spec) {
  for (bool asks = true; asks;) {
    {
      View view(state, env.nowNs(), Seed{});
      view.anyNode([&](schema::Node::Reader node) {
        unmetTerm(view, node, spec);
        return false;
      });
    }
    asks = state.verdicts().open();
    if (asks) asks = co_await asker.answer(state);
  }
}

// Nodes that a filter does not answer for are none.
Task<const NodeBook::Set*> Scheduling::judge(View& view, const std::string& serviceId,
                                             schema::TaskSpec::Reader spec) {
  auto& verdicts = view.base().verdicts();
  eachTerm(verdicts, spec.getPlacement(), [](auto&) {});  // what they mean comes first
  bool answers = true;
  for (bool first = true;; first = false) {
    if (!first) co_await others();
    if (answers && verdicts.open()) {
      answers = co_await asker.answer(view.base(), serviceId);
      if (!answers) view.wakeAt(serviceId, view.now() + ASK_AGAIN_NS);
    }
    book.catchUp(view);
    auto set = book.find(view, spec);
    Neighbours neighbours(view, serviceId, spec);  // asks as well
    bool asks = answers && verdicts.open();
    if (set != nullptr && !asks) co_return set;
  }
}

Task<void> Scheduling::judgeFor(View& view, std::string serviceId) {
  KJ_IF_MAYBE (service, view.service(serviceId)) {
    auto spec = service->getSpec();
    bool empty = replicasOf(spec).orDefault(1) == 0 && view.base().slots(serviceId) == nullptr;
    if (empty || !hasTerms(spec.getTask().getPlacement())) co_return;
    co_await judge(view, serviceId, spec.getTask());
  }
}

Task<void> Scheduling::checkTerms(const State& state, schema::ServiceSpec::Reader spec) {
  auto task = spec.getTask();
  co_await asker.check(state, task.getPlacement());
  // How many addresses it needs.
  bool counts = isByNode(spec) && task.getNetworks().size() > 0 && hasTerms(task.getPlacement());
  if (counts) co_await judgeAll(state, task);
}

Task<kj::Vector<kj::String>> Scheduling::strategies() {
  constexpr kj::StringPtr PREFIX = "scheduler."_kj;
  auto request = host.client().servicesRequest();
  request.setPrefix(PREFIX);
  auto answer = co_await request.send();
  kj::Vector<kj::String> names;
  for (auto name : answer.getNames()) names.add(kj::str(name.slice(PREFIX.size())));
  co_return kj::mv(names);
}

}  // namespace orch::control::manager
