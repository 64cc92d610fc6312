#include "lib/strategy-plugin.h"

namespace orch::scheduler {

namespace {

class Table final : public schema::PlacementTable::Server {
 public:
  explicit Table(PlacementTable table) : table(kj::mv(table)) {}

  kj::Promise<void> apply(ApplyContext context) override {
    auto params = context.getParams();
    for (auto node : params.getChanged()) table.put(node);
    for (auto id : params.getGone()) table.erase(id.cStr());
    for (auto division : params.getDivisions()) table.put(division);
    return kj::READY_NOW;
  }
  kj::Promise<void> fork(ForkContext context) override {
    context.getResults().setTable(kj::heap<Table>(table));
    return kj::READY_NOW;
  }
  kj::Promise<void> place(PlaceContext context) override {
    auto params = context.getParams();
    auto placed = table.place(params.getGroup(), params.getCount(), params.getSeed());
    auto results = context.getResults();
    auto nodes = results.initNodes(placed.size());
    for (uint32_t i = 0; i < placed.size(); ++i) nodes.set(i, placed[i]);
    results.setUnplaced(params.getCount() - placed.size());
    return kj::READY_NOW;
  }
  kj::Promise<void> explain(ExplainContext context) override {
    auto scores = table.explain(context.getParams().getGroup());
    auto nodes = context.getResults().initNodes(scores.size());
    for (uint32_t i = 0; i < scores.size(); ++i) {
      nodes[i].setNode(scores[i].node);
      auto terms = nodes[i].initTerms(scores[i].terms.size());
      for (uint32_t k = 0; k < terms.size(); ++k) {
        terms[k].setName(scores[i].terms[k].first.c_str());
        terms[k].setValue(scores[i].terms[k].second);
      }
    }
    return kj::READY_NOW;
  }

 private:
  PlacementTable table;
};

class Strategy final : public schema::Scheduler::Server {
 public:
  explicit Strategy(PlacementTable empty) : empty(kj::mv(empty)) {}
  kj::Promise<void> open(OpenContext context) override {
    auto table = empty;
    for (auto node : context.getParams().getNodes()) table.put(node);
    context.getResults().setTable(kj::heap<Table>(kj::mv(table)));
    return kj::READY_NOW;
  }

 private:
  PlacementTable empty;
};

}  // namespace

schema::Scheduler::Client newScheduler(PlacementTable empty) {
  return kj::heap<Strategy>(kj::mv(empty));
}

}  // namespace orch::scheduler
