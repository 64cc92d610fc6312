// Who looks at a simulated cluster, through each of its managers: what is answered has to be, or to
// have been.
#include "orch/attempt.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/trust/peer-link.h"
#include "simulation.h"

namespace orch::testing {

namespace {

constexpr uint64_t READ_PAUSE_MS = 400;
constexpr kj::Duration READ_LIMIT = 6 * kj::SECONDS;
// Of what a manager says how old it is, by a clock that goes wrong, until that has come.
constexpr int64_t AGE_MARGIN_NS = 1'000'000;

}  // namespace

Task<void> Simulation::keepReading(std::string manager) {
  readAtMs[manager] = 0;
  for (;;) {
    auto pauseMs = READ_PAUSE_MS / 2 + clientEnv.random() % READ_PAUSE_MS;
    co_await clientEnv.timer().afterDelay(pauseMs * kj::MILLISECONDS);
    // Who is gone, or stands still, does not answer.
    co_await attempt(clientEnv.timer().timeoutAfter(READ_LIMIT, read(manager).promise()));
  }
}

// What it says of its age, before and after, is said of what is between.
Task<void> Simulation::read(const std::string& manager) {
  auto stream = co_await trust::reach(clientEnv, kj::str(manager.c_str(), ":1"));
  trust::PeerLink link(kj::mv(stream));
  auto find = link.bootstrap<schema::Gateway>().serviceRequest();
  find.setName("cluster");
  auto cluster = find.send().getCapability().castAs<schema::ClusterControl>();
  auto askedAtMs = nowMs();
  auto since = history.knownAt(nowNs());
  auto before = cluster.ageRequest().send();
  auto services = cluster.servicesRequest().send();
  auto tasks = cluster.tasksRequest().send();
  auto after = cluster.ageRequest().send();
  bool old = false;
  auto take = [&](schema::ClusterControl::AgeResults::Reader age) {
    if (age.getAsOfNs() == 0) return;
    old = true;
    auto asOfNs = nowNs() - (host(manager).nowNs() - age.getAsOfNs());
    since = std::min(since, history.knownAt(asOfNs - AGE_MARGIN_NS));
  };
  auto firstAge = co_await before;
  take(firstAge);
  auto allServices = co_await services;
  auto allTasks = co_await tasks;
  auto lastAge = co_await after;
  take(lastAge);
  auto print = History::printOf(allServices.getServices());
  checkRead(manager, History::Part::SERVICES, print, since, old);
  print = History::printOf(allTasks.getTasks());
  checkRead(manager, History::Part::TASKS, print, since, old);
  if (!old) readAtMs[manager] = askedAtMs;
}

void Simulation::checkRead(const std::string& manager, History::Part part, History::Print print,
                           uint64_t since, bool old) {
  auto what = part == History::Part::SERVICES ? " services" : " tasks";
  auto revision = history.find(part, print, since);
  if (revision > 0) {
    if (!old) history.seen(revision, nowNs());
    return;
  }
  book.violate(manager + " answers" + (old ? " old" : "") + what +
               " that the state has not had since revision " + std::to_string(since));
}

}  // namespace orch::testing
