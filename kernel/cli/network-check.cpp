#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "listing.h"

namespace orch::cli {

namespace {

constexpr Option NETWORK_CHECK_OPTIONS[] = {
    {"--repair", nullptr, "Put right what is found"},
    {"-q,--quiet", nullptr, "Print nothing: the exit status says it"},
    {"--format", "FORMAT", "Print a table, json, or a template as '{{.Node}}' ('table {{.Node}}')"},
};
constexpr Column FOUND_COLUMNS[] = {{"Node", "NODE"},     {"Network", "NETWORK"},
                                    {"Object", "OBJECT"}, {"Expected", "EXPECTED"},
                                    {"Found", "FOUND"},   {"Repaired", nullptr}};
constexpr Column REPAIR_COLUMNS[] = {{"Node", "NODE"},     {"Network", "NETWORK"},
                                     {"Object", "OBJECT"}, {"Expected", "EXPECTED"},
                                     {"Found", "FOUND"},   {"Repaired", "REPAIRED"}};

kj::String orNothing(kj::StringPtr text) { return kj::str(text.size() > 0 ? text : "nothing"_kj); }

kj::String summary(schema::ClusterControl::CheckNetworksResults::Reader answer, bool repair) {
  auto where =
      kj::str(" things on ", answer.getNodes(), answer.getNodes() == 1 ? " node" : " nodes");
  uint32_t wrong = answer.getFindings().size();
  if (wrong == 0) return kj::str("all ", answer.getThings(), where, " are as they should be");
  uint32_t left = 0;
  for (auto one : answer.getFindings()) left += one.getRepaired() ? 0 : 1;
  auto found = kj::str(wrong, " of ", answer.getThings(), where, repair ? " were" : " are",
                       " not as they should be");
  if (!repair) return kj::str(found, "; 'orch network check --repair' puts them right");
  if (left == 0) return kj::str(found, "; they are now");
  return kj::str(found, "; ", left, " still are not");
}

Task<int> checkNetworks(Context& context) {
  bool repair = context.args.on("--repair");
  auto columns = repair ? kj::arrayPtr(REPAIR_COLUMNS, kj::size(REPAIR_COLUMNS))
                        : kj::arrayPtr(FOUND_COLUMNS, kj::size(FOUND_COLUMNS));
  Listing list(context, columns);
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.checkNetworksRequest();
  auto operands = context.args.operands();
  if (operands.size() > 0) request.setId(operands[0]);
  request.setRepair(repair);
  auto answer = co_await request.send();
  bool clean = answer.getMissing().size() == 0;
  unsigned row = 0;
  for (auto one : answer.getFindings()) {
    clean = clean && one.getRepaired();
    if (context.args.on("--quiet")) continue;
    auto network = kj::str(one.getNetwork().size() > 0 ? one.getNetwork() : "-"_kj);
    list.row(kj::str(row++), one,
             kj::arr(kj::str(one.getNode()), kj::mv(network), kj::str(one.getObject()),
                     orNothing(one.getExpected()), orNothing(one.getFound()),
                     kj::str(one.getRepaired() ? "yes" : "no")));
  }
  if (context.args.on("--quiet")) co_return clean ? 0 : 1;
  bool formatted = context.args.text("--format").size() > 0;
  if (!context.out.wroteJson(capnp::toDynamic(answer))) {
    if (row > 0 || formatted) list.finish();
    if (!formatted) context.out.line(summary(answer, repair));
  }
  for (auto text : answer.getMissing()) {
    context.out.error(kj::str("warning: not all is known of node ", text));
  }
  co_return clean ? 0 : 1;
}

}  // namespace

const Command NETWORK_CHECK = {"network check", "[NETWORK]",
                               "Compare what the nodes' kernels have with what they should have",
                               NETWORK_CHECK_OPTIONS, checkNetworks};

}  // namespace orch::cli
