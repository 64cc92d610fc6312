#include <utility>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "service-change.h"

namespace orch::cli {

namespace {

using RemoveResults = schema::ClusterControl::RemoveServiceResults;

constexpr Option SERVICE_RM_OPTIONS[] = {
    {"-d,--detach", nullptr, "Do not wait until the containers are gone"},
    {"-q,--quiet", nullptr, "Print no progress"},
};

// What is to be removed, as it was typed.
struct Removal {
  kj::StringPtr typed;
  kj::String name;               // empty: nobody knows
  kj::Vector<kj::String> needs;  // names
};

bool isNeededBy(const Removal& one, const Removal& other) {
  for (auto& need : other.needs) {
    if (one.name.size() > 0 && need == one.name) return true;
  }
  return false;
}

Task<kj::Vector<Removal>> lookUp(Context& context) {
  kj::Vector<Removal> all;
  auto operands = context.args.operands();
  auto cluster = co_await context.connection.cluster();
  for (auto& operand : operands) {
    auto& one = all.add(Removal{operand, kj::String(), {}});
    if (operands.size() == 1) break;  // there is no order
    auto request = cluster.serviceRequest();
    request.setId(operand);
    auto answer = co_await attempt(request.send());
    if (!answer.ok()) continue;  // which is told when it is removed
    auto spec = answer.value().getService().getSpec();
    one.name = kj::str(spec.getName());
    for (auto dependency : spec.getDependsOn()) one.needs.add(kj::str(dependency.getService()));
  }
  co_return kj::mv(all);
}

// Takes out those that none of the others needs; all of them where that is nobody.
kj::Vector<Removal> takeFree(kj::Vector<Removal>& all) {
  kj::Vector<Removal> free;
  kj::Vector<Removal> rest;
  auto needed = KJ_MAP(one, all) {
    bool any = false;
    for (auto& other : all) any |= isNeededBy(one, other);
    return any;
  };
  for (size_t i = 0; i < all.size(); ++i) (needed[i] ? rest : free).add(kj::mv(all[i]));
  all = kj::mv(rest);
  if (free.empty()) std::swap(free, all);
  return free;
}

// Those that depend on others go first, and have gone when these do.
Task<int> removeServices(Context& context) {
  kj::Vector<kj::String> documents;
  auto left = co_await lookUp(context);
  kj::Vector<Wait> waits;
  for (;;) {
    auto part = takeFree(left);
    for (auto& one : part) {
      auto requestId = context.env.newId();
      auto outcome = co_await attempt(
          context.connection.change<RemoveResults>([&](schema::ClusterControl::Client& cluster) {
            auto request = cluster.removeServiceRequest();
            request.setRequestId(requestId);
            request.setId(one.typed);
            return request.send();
          }));
      if (!outcome.ok()) {
        context.failed(outcome.error());
        continue;
      }
      printWarnings(context.out, outcome.value().getWarnings());
      auto& wait = waits.add();
      wait.id = kj::str(outcome.value().getServiceId());
      wait.name = kj::str(one.typed);
      wait.goal = Goal::gone;
      if (context.out.json) {
        documents.add(toJson(capnp::toDynamic(RemoveResults::Reader(outcome.value())), false));
      } else {
        context.out.line(one.typed);
      }
    }
    if (left.empty()) break;
    co_await finishChange(context, kj::mv(waits));
    waits = kj::Vector<Wait>();
  }
  if (context.out.json) context.out.documents(documents);
  co_return co_await finishChange(context, kj::mv(waits));
}

}  // namespace

const Command SERVICE_RM = {.path = "service rm",
                            .operands = "SERVICE...",
                            .help = "Remove one or more services",
                            .options = SERVICE_RM_OPTIONS,
                            .run = removeServices,
                            .interruptible = true};

}  // namespace orch::cli
