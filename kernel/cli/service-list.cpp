#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "listing.h"

namespace orch::cli {

namespace {

constexpr Option SERVICE_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Only what matches: id=, name= (or how it begins), mode=, label=", true},
    ORCH_LIST_OPTIONS  //
};
constexpr Column SERVICE_COLUMNS[] = {{"ID", "ID"},       {"Name", "NAME"},
                                      {"Mode", "MODE"},   {"Replicas", "REPLICAS"},
                                      {"Image", "IMAGE"}, {"Ports", "PORTS"}};

constexpr kj::StringPtr JOB = "-job"_kj;  // at the end of a mode

kj::String replicasOf(schema::ServiceRow::Reader row) {
  using State = schema::UpdateStatus::State;
  auto note = row.getUpdateState() == State::PAUSED            ? " (update paused)"_kj
              : row.getUpdateState() == State::ROLLBACK_PAUSED ? " (rollback paused)"_kj
                                                               : ""_kj;
  bool job = row.getMode().endsWith(JOB);
  return kj::str(
      row.getRunning(), "/", row.getDesired(), note,
      job ? kj::str(" (", row.getCompleted(), "/", row.getTotal(), " completed)") : kj::String());
}

// As docker has it: `replicated job`.
kj::String modeOf(schema::ServiceRow::Reader row) {
  kj::StringPtr mode = row.getMode();
  if (!mode.endsWith(JOB)) return kj::str(mode);
  return kj::str(kj::heapString(mode.begin(), mode.size() - JOB.size()), " job");
}

Task<int> listServices(Context& context) {
  Filters filters(context.args,
                  {"id", "name", {"mode", "replicated|global|replicated-job|global-job"}, "label"});
  Listing list(context, SERVICE_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.servicesRequest().send();
  context.connection.noteAge(response);
  for (auto row : response.getServices()) {
    bool shown =
        filters.allowPrefix("id", row.getId()) && filters.allowPrefix("name", row.getName()) &&
        filters.allowSame("mode", row.getMode()) && filters.allowLabels("label", row.getLabels());
    if (!shown) continue;
    auto id = list.id(row.getId());
    list.row(id, row,
             kj::arr(kj::str(id), kj::str(row.getName()), modeOf(row), replicasOf(row),
                     kj::str(row.getImage()), portsText(row.getPorts())));
  }
  list.finish();
  co_return 0;
}

}  // namespace

const Command SERVICE_LS = {"service ls", "", "List services", SERVICE_LS_OPTIONS, listServices};

}  // namespace orch::cli
