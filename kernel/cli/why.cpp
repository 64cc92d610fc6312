// `orch why`: where a task may run, and what keeps it from the other nodes.
#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr Option WHY_OPTIONS[] = {{"--node", "NODE", "Only this node, by its host name"}};

kj::String standing(schema::NodePlacing::Reader node) {
  kj::Vector<kj::String> parts;
  for (auto term : node.getTerms()) parts.add(kj::str(term.getName(), ": ", term.getValue()));
  return parts.empty() ? kj::str("could take it") : kj::strArray(parts, ", ");
}

void addRows(Table& table, schema::NodePlacing::Reader node, bool here) {
  auto name = [&] { return kj::str(node.getNode()); };
  auto obstacles = node.getObstacles();
  if (obstacles.size() == 0) {
    table.row(kj::arr(name(), kj::str(here ? "it is here" : "yes"), standing(node), kj::String()));
  }
  for (uint32_t i = 0; i < obstacles.size(); ++i) {
    auto remedy = i < node.getRemedies().size() ? kj::str(node.getRemedies()[i]) : kj::String();
    table.row(kj::arr(i == 0 ? name() : kj::String(),
                      kj::str(i > 0  ? ""
                              : here ? "it is here"
                                     : "no"),
                      kj::str(obstacles[i]), kj::mv(remedy)));
  }
}

Task<int> why(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.whyRequest();
  request.setId(context.args.operands()[0]);
  auto response = co_await request.send();
  schema::ClusterControl::WhyResults::Reader results = response;
  auto answer = results.getAnswer();
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  auto where = answer.getNode().size() > 0 ? kj::str(" on ", answer.getNode()) : kj::String();
  context.out.line(answer.getTask(), " is ", nameOf(answer.getState()), where,
                   answer.getMessage().size() > 0 ? ": " : "", answer.getMessage(), "\n");
  Table table;
  table.row(kj::arr(kj::str("NODE"), kj::str("MAY RUN"), kj::str("WHY NOT, OR HOW IT STANDS"),
                    kj::str("WHAT WOULD CHANGE THAT")));
  auto only = context.args.text("--node");
  bool found = false;
  for (auto node : answer.getNodes()) {
    if (only.size() > 0 && node.getNode() != only) continue;
    found = true;
    addRows(table, node, answer.getNode() == node.getNode());
  }
  if (only.size() > 0 && !found) fail(kj::str("there is no node '", only, "'; see 'orch node ls'"));
  context.out.table(table);
  co_return 0;
}

}  // namespace

const Command WHY = {"why", "TASK|SERVICE",
                     "Say where a task may run, and what keeps it from other nodes", WHY_OPTIONS,
                     why};

}  // namespace orch::cli
