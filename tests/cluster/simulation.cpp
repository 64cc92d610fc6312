#include "simulation.h"

#include <capnp/serialize.h>
#include <kj/debug.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::testing {

namespace {

using Kind = Step::Kind;

// After a fault is over, connections have to be found dead and opened again, with pauses.
constexpr int64_t AFTERMATH_MS = 25'000;
// A manager that has just started waits so long for its agents (startGraceMs), about.
constexpr int64_t GRACE_MS = 14'500;
// Until all is well again: the manager's grace period, back-off of restarts (30 s), a container
// that is given up on (60 s and its grace period).
constexpr kj::Duration SETTLE_LIMIT = 150 * kj::SECONDS;
constexpr kj::Duration END_LIMIT = 120 * kj::SECONDS;
constexpr kj::Duration LOOK_EVERY = 500 * kj::MILLISECONDS;
constexpr size_t MOST_CONNECTIONS = 200;
constexpr const char* TEMPORARY = "/dev/shm";  // what is written there costs nothing

const MemoryStore::Fault STORE_FAULTS[] = {
    MemoryStore::Fault::REFUSE, MemoryStore::Fault::UNKNOWN_APPLIED,
    MemoryStore::Fault::UNKNOWN_LOST, MemoryStore::Fault::DISCONNECT_APPLIED,
    MemoryStore::Fault::OVERLOAD_APPLIED};

}  // namespace

// An order of an earlier leader.
struct Simulation::Remembered {
  std::string host;
  uint64_t epoch = 0;
  std::map<std::string, std::pair<kj::Array<capnp::word>, schema::TaskState>> tasks;
};

Simulation::Simulation(Plan given, Bug bug)
    : plan(std::move(given)),
      world(plan.seed),
      log(world.env().timer()),
      network(world, plan.seed),
      book({[this] { return leader().nowNs(); },
            [this](const std::string& name) { return mayBeDown(name); },
            [this](const std::string& name) { return mayBeDown(name) || mayManagersBeDown(); },
            [this](const std::string& text) { log.add("--", text.c_str()); }}),
      client(world.newMachine()),
      clientEnv(client.begin(1, network.networkOf("c1"))),
      tasks(*this) {
  network.addHost("c1", client);
  SimulatedWorld shared{world, network, log, book, bug};
  if (plan.managers > 1) {
    static std::atomic<uint32_t> count = 0;
    folder = kj::str(TEMPORARY, "/orch-sim-", getpid(), "-", ++count).cStr();
    sharedState.share();
    shared.managers = plan.managers;
    shared.state = &sharedState;
    shared.folder = folder;
    shared.elected = [this](auto& name) { elected(name); };
  }
  for (uint32_t i = 1; i <= plan.hosts; ++i) {
    auto name = "n" + std::to_string(i);
    auto made = std::make_unique<SimulatedHost>(shared, name, world.env().random());
    // Clocks of several managers are kept: what one has written down, the next one reads.
    constexpr int64_t HOUR_NS = 3'600'000'000'000, SECOND_NS = 1'000'000'000;
    auto most = plan.managers > 1 && made->manages() ? SECOND_NS / 10 : HOUR_NS;
    made->machine.setClock(static_cast<int64_t>(world.env().random() % (2 * most)) - most,
                           static_cast<int32_t>(world.env().random() % 400) - 200);
    hosts[name] = std::move(made);
  }
  state().observe([this](auto batch) { wrote(batch); });
  oracle.madeByItsNode = [this](auto& id) { return book.tasks.at(id).local; };
  world.onQuiet([this] {
    if (book.violation().empty()) return;
    fail(kj::str(book.violation().c_str()));
  });
}

Simulation::~Simulation() noexcept(false) {
  for (auto& entry : hosts) entry.second->windUp();
  world.settle();
  if (!folder.empty()) std::filesystem::remove_all(folder);
}

void Simulation::taskFailed(kj::Exception&& exception) {
  book.violate(std::string("the simulation failed: ") + exception.getDescription().cStr());
}

int64_t Simulation::nowMs() {
  return (world.env().timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
}

int64_t Simulation::nowNs() {
  return (world.env().timer().now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS;
}

void Simulation::advance(kj::Duration duration) { world.advance(duration); }

// ---- the plan -----------------------------------------------------------------------------------

// Hosts have joined: the state has their nodes.
void Simulation::begin() {
  auto store = state().client();
  auto request = store.commitRequest();
  auto batch = request.initBatch();
  batch.setId("joined");
  auto ops = batch.initOps(hosts.size());
  uint32_t i = 0;
  for (auto& entry : hosts) {
    capnp::MallocMessageBuilder message(1024);
    auto node = message.initRoot<schema::Node>();
    node.initMeta().setId(entry.first.c_str());
    node.setManages(plan.managers > 1 && isManager(*entry.second));
    ops[i].setKind("node");
    ops[i].setKey(entry.first.c_str());
    ops[i++].setPut(capnp::messageToFlatArray(message).asBytes());
  }
  request.send().wait(world.waitScope());
  if (plan.managers > 1) becomeSeveral();
  for (auto& entry : hosts) {
    entry.second->powerOn();
    if (isManager(*entry.second) && !plan.mild) tasks.add(keepReading(entry.first));
  }
  advance(3 * kj::SECONDS);
}

Outcome Simulation::run() {
  Outcome outcome;
  auto ran = attemptNow([&] {
    begin();
    auto beginMs = nowMs();
    for (auto& step : plan.steps) {
      auto waitMs = beginMs + step.atMs - nowMs();
      if (waitMs > 0) advance(waitMs * kj::MILLISECONDS);
      happen(step);
    }
    healAll();
    healedAtMs = nowMs();
    waitUntilEmpty([this] { return unsettled(); }, SETTLE_LIMIT, "does not settle");
    outcome.settledMs = nowMs() - healedAtMs;
    ending = true;
    for (auto& [name, wish] : wishes) {
      Step step;
      step.kind = Kind::REMOVE;
      step.host = name;
      if (wish.there) request(step);
    }
    waitUntilEmpty([this] { return leftovers(); }, END_LIMIT, "something is left over");
  });
  if (!ran.ok() && book.violation().empty()) {
    book.violate(std::string("the simulation failed: ") + ran.message().cStr());
  }
  outcome.violation = book.violation();
  outcome.log = log.text();
  outcome.virtualMs = nowMs();
  outcome.bytes = network.bytes();
  outcome.starts = book.hosts.size();
  outcome.leads = leads;
  outcome.takenIn = book.takenIn;
  outcome.judged = oracle.judged();
  outcome.commits = state().commits();
  return outcome;
}

template <typename Look>
void Simulation::waitUntilEmpty(Look look, kj::Duration bound, const char* what) {
  auto end = world.env().timer().now() + bound;
  for (;;) {
    std::string reason = look();
    if (reason.empty()) return;
    if (world.env().timer().now() >= end) {
      book.violate(std::string(what) + " within " + std::to_string(bound / kj::SECONDS) +
                   " s: " + reason);
      return;
    }
    advance(LOOK_EVERY);
    checkLimits();
  }
}

void Simulation::checkLimits() {
  if (network.connections() > MOST_CONNECTIONS) book.violate("connections pile up");
}

void Simulation::happen(const Step& step) {
  log.add("--", step.text().c_str());
  if (step.isRequest()) return request(step);
  auto& at = host(step.host);
  switch (step.kind) {
    case Kind::POWER_OFF:
      if (!at.powered()) return;
      at.powerOff();
      return trouble(step.host, 1);
    case Kind::POWER_ON:
    case Kind::START:
      return start(at);
    case Kind::CRASH:
      if (!at.running()) return;
      at.crashOrchd();
      return trouble(step.host, 1);
    case Kind::FREEZE:
    case Kind::THAW:
      return freeze(at, step.kind == Kind::FREEZE);
    case Kind::CUT:
    case Kind::CUT_OUT:
    case Kind::CUT_IN:
    case Kind::LOSE:
      return harm(step);
    case Kind::MEND:
      return mend(step.host);
    case Kind::RESET:
      for (auto& entry : hosts) {
        bool other = isManager(*entry.second) && entry.first != step.host;
        if (other) network.reset(step.host.c_str(), entry.first.c_str());
      }
      trouble(step.host, 1);
      return trouble(step.host, -1);
    case Kind::SLOW_DISK:
      return at.setDisk(step.amount * kj::MILLISECONDS);
    case Kind::FAST_DISK:
      return at.setDisk(4 * kj::MILLISECONDS);
    case Kind::CUT_STATE:
    case Kind::MEND_STATE:
      at.cutState(step.kind == Kind::CUT_STATE);
      return trouble(step.host, step.kind == Kind::CUT_STATE ? 1 : -1);
    case Kind::STORE_FAULT:
      diskWasFull |= !isManager(at) && STORE_FAULTS[step.amount] == MemoryStore::Fault::REFUSE;
      (isManager(at) ? state() : at.agentDisk).inject(STORE_FAULTS[step.amount]);
      return;
    case Kind::REMEMBER:
      return remember(step.host);
    case Kind::GHOST:
      return ghost(step.host);
    default:
      KJ_UNREACHABLE;
  }
}

void Simulation::start(SimulatedHost& at) {
  if (!at.powered()) {
    at.powerOn();
  } else if (!at.running()) {
    at.startOrchd();
  } else {
    return;
  }
  if (isManager(at) && plan.managers == 1) managerSinceMs = nowMs();
  trouble(at.name, -1);
}

// Of a manager's host all others have trouble.
void Simulation::freeze(SimulatedHost& at, bool freezes) {
  if (!at.powered() || at.machine.frozen() == freezes) return;
  if (freezes) {
    at.freeze();
  } else {
    at.thaw();
  }
  if (plan.managers > 1) return trouble(at.name, freezes ? 1 : -1);
  for (auto& entry : hosts) {
    if (isManager(at) || entry.first == at.name) trouble(entry.first, freezes ? 1 : -1);
  }
}

void Simulation::harm(const Step& step) {
  LinkQuality out, in;
  out.cut = step.kind == Kind::CUT || step.kind == Kind::CUT_OUT;
  in.cut = step.kind == Kind::CUT || step.kind == Kind::CUT_IN;
  if (step.kind == Kind::LOSE) out.lossPerMille = in.lossPerMille = step.amount;
  setLinks(step.host, out, in);
  trouble(step.host, 1);
}

// Between the host and all managers.
void Simulation::setLinks(const std::string& name, LinkQuality out, LinkQuality in) {
  for (auto& entry : hosts) {
    bool other = isManager(*entry.second) && entry.first != name;
    if (!other) continue;
    network.setLink(name.c_str(), entry.first.c_str(), out);
    network.setLink(entry.first.c_str(), name.c_str(), in);
  }
}

void Simulation::mend(const std::string& name) {
  setLinks(name, {}, {});
  trouble(name, -1);
}

void Simulation::healAll() {
  log.add("--", "all faults end");
  for (auto& [name, at] : hosts) {
    state().inject(MemoryStore::Fault::NONE);
    at->agentDisk.inject(MemoryStore::Fault::NONE);
    for (auto kind :
         {Kind::THAW, Kind::POWER_ON, Kind::FAST_DISK, Kind::MEND_STATE, Kind::ACTIVATE}) {
      Step step;
      step.kind = kind;
      step.host = name;
      happen(step);
    }
    if (plan.managers > 1 || name != MANAGER_HOST.cStr()) mend(name);
    troubles[name] = {0, nowMs()};
  }
}

// That of a manager among several is everybody's: it may lead.
void Simulation::trouble(const std::string& name, int change) {
  bool all = plan.managers > 1 && isManager(host(name));
  for (auto& entry : hosts) {
    if (!all && entry.first != name) continue;
    auto& known = troubles[entry.first];
    known.active = std::max(0, known.active + change);
    known.lastMs = nowMs();
  }
}

bool Simulation::mayBeDown(const std::string& name) {
  auto& known = troubles[name];
  bool troubled = !plan.mild && (known.active > 0 || nowMs() - known.lastMs < AFTERMATH_MS);
  bool waited = managerSinceMs > 0 && nowMs() - managerSinceMs >= GRACE_MS &&
                nowMs() - managerSinceMs < GRACE_MS + AFTERMATH_MS;
  bool atFirst = managerSinceMs == 0 && nowMs() < GRACE_MS;
  return troubled || waited || atFirst;
}

// As far as anybody can tell from outside of the manager: it has led for a while, and nobody has
// had trouble of late.
bool Simulation::areAllReady() {
  if (nowMs() - managerSinceMs < GRACE_MS + AFTERMATH_MS) return false;
  return std::none_of(troubles.begin(), troubles.end(), [&](auto& entry) {
    return entry.second.active > 0 || nowMs() - entry.second.lastMs < AFTERMATH_MS;
  });
}

void Simulation::wrote(kj::ArrayPtr<const MemoryStore::Written> batch) {
  book.wrote(batch);
  history.wrote(batch, book);
  oracle.wrote(batch, leader().nowNs(), areAllReady());
  if (!oracle.mistake().empty()) book.violate(oracle.mistake());
}

// ---- orders of the past -------------------------------------------------------------------------

void Simulation::remember(const std::string& name) {
  auto what = std::make_unique<Remembered>();
  what->host = name;
  what->epoch = state().epoch();
  for (auto& [id, task] : book.tasks) {
    if (!task.there || !task.assigned() || task.node != name) continue;
    auto& copy = what->tasks[id];
    copy.first = kj::heapArray<capnp::word>(task.words.size());
    memcpy(copy.first.begin(), task.words.begin(), task.words.asBytes().size());
    copy.second = task.state;
  }
  remembered.push_back(std::move(what));
}

void Simulation::ghost(const std::string& name) {
  for (auto& what : remembered) {
    bool later = state().epoch() > what->epoch;
    if (what->host == name && later) tasks.add(haunt(name, *what));
  }
}

Task<void> Simulation::haunt(std::string name, Remembered& what) {
  capnp::Capability::Client agent = nullptr;
  KJ_IF_MAYBE (there, host(name).service("control.agent")) {
    agent = *there;
  } else {
    co_return;
  }
  // Only one who follows a newer leader can tell.
  if (host(name).followedEpoch() <= what.epoch) co_return;
  auto request = agent.castAs<schema::Agent>().assignRequest();
  request.setEpoch(host(name).blind() ? host(name).followedEpoch() : what.epoch);
  request.setComplete(true);
  auto list = request.initAssignments(what.tasks.size());
  uint32_t i = 0;
  for (auto& entry : what.tasks) {
    capnp::FlatArrayMessageReader message(entry.second.first);
    list[i].setTask(message.getRoot<schema::Task>());
    list[i++].getTask().getStatus().setState(entry.second.second);
  }
  auto answered = co_await attempt(request.send().ignoreResult());
  log.add(name.c_str(), kj::str("an order of epoch ", what.epoch, " is ",
                                answered.ok() ? "taken"_kj : "refused"_kj));
}

// ---- what should be -----------------------------------------------------------------------------

std::string Simulation::serviceNamed(const std::string& name) const {
  for (auto& [id, service] : book.services) {
    if (service.name == name) return id;
  }
  return {};
}

std::string Simulation::unsettled() {
  for (auto& [name, wish] : wishes) {
    if (wish.busy) return "a request for '" + name + "' has no answer";
  }
  for (auto& [name, at] : readAtMs) {
    if (at < healedAtMs) return name + " does not answer what is";
  }
  for (auto& [name, wish] : wishes) {
    if (hosts.count(name) > 0 || !wish.judged) continue;
    auto id = serviceNamed(name);
    if (id.empty() != !wish.there) return "service '" + name + "' is there, or not";
    if (!wish.there) continue;
    auto& service = book.services.at(id);
    // A start-first update needs room for one task more: nobody promises that there is.
    if (service.everStartFirst && book.waitsForRoom(id)) continue;
    // A task that its node cannot write down has failed, and an update pauses for that.
    if (diskWasFull && service.update == schema::UpdateStatus::State::PAUSED) continue;
    bool updates = service.update == schema::UpdateStatus::State::UPDATING;
    if (updates) return "'" + name + "' is being updated";
    if (service.job) {
      if (!service.ended) return "the run of '" + name + "' has not ended";
      bool all = wish.global ? service.completed > 0 : service.completed == wish.replicas;
      if (!all) return "of '" + name + "' have completed " + std::to_string(service.completed);
      if (!book.running(id).empty()) return "of '" + name + "' something runs";
      continue;
    }
    size_t wanted = wish.global ? hosts.size() : wish.replicas;
    auto running = book.running(id);
    if (running.size() != wanted) {
      std::string which;
      for (auto& taskId : running) {
        auto& task = book.tasks.at(taskId);
        which += ", " + name + "." + task.slot + "." + taskId.substr(0, 6);
        if (!task.there) which += " (gone)";
        if (task.over()) which += " (over)";
        if (!task.mayRun()) which += " (unwanted)";
      }
      return "of '" + name + "' run " + std::to_string(running.size()) + " tasks, not " +
             std::to_string(wanted) + which;
    }
    for (auto& taskId : running) {
      auto& task = book.tasks.at(taskId);
      bool right = task.there && task.mayRun() && task.state == schema::TaskState::RUNNING &&
                   task.specVersion == service.specVersion;
      if (!right) return "a task of '" + name + "' runs that is not, or not so, in the state";
    }
  }
  return {};
}

std::string Simulation::leftovers() {
  for (auto& [name, wish] : wishes) {
    if (wish.busy) return "a request for '" + name + "' has no answer";
  }
  for (auto& [name, at] : readAtMs) {
    if (at < healedAtMs) return name + " does not answer what is";
  }
  if (!book.services.empty()) return "a service";
  if (book.tasksThere() > 0) return std::to_string(book.tasksThere()) + " tasks in the state";
  for (auto& [name, at] : hosts) {
    if (at->containers() > 0) return "containers on " + name;
    if (at->agentDisk.objects("task") > 0) return "tasks on the disk of " + name;
  }
  return {};
}

namespace {
// Nobody reads where an exception has come by, and to find that out takes longer than all else.
class NoTraces final : public kj::ExceptionCallback {
 public:
  StackTraceMode stackTraceMode() override { return StackTraceMode::NONE; }
};
}  // namespace

Outcome simulate(const Plan& plan, Bug bug) {
  NoTraces noTraces;
  return Simulation(plan, bug).run();
}

}  // namespace orch::testing
