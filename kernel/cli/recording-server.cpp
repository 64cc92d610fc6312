#include "recording-server.h"

#include <kj/debug.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "recording-discovery.h"
#include "recording-images.h"
#include "recording-jobs.h"
#include "recording-kernel.h"
#include "recording-plans.h"
#include "recording-program.h"
#include "recording-progress.h"
#include "recording-templates.h"

namespace orch::cli {

struct RecordingServer::State {
  struct Link {
    kj::Own<kj::AsyncIoStream> stream;
    kj::Own<capnp::TwoPartyVatNetwork> network;
    kj::Own<capnp::RpcSystem<capnp::rpc::twoparty::VatId>> rpc;
  };
  std::map<std::string, kj::Own<capnp::MallocMessageBuilder>> services;  // Service, by name
  kj::Own<capnp::MallocMessageBuilder> spec = kj::heap<capnp::MallocMessageBuilder>();
  kj::Own<capnp::MallocMessageBuilder> logOptions = kj::heap<capnp::MallocMessageBuilder>();
  std::map<std::string, std::string> answers;       // service name by request id
  std::vector<std::string> removed;                 // ids
  kj::Own<kj::PromiseFulfiller<void>> asked;        // fulfilled at the first call of progress
  kj::Own<kj::PromiseFulfiller<void>> interrupted;  // when the signal has been sent
  kj::Maybe<kj::Own<capnp::Capability::Client>> gateway;
  kj::Vector<kj::Own<Link>> links;
  kj::Maybe<kj::Promise<void>> accepting;
  uint64_t revision = 10;
};

namespace {

constexpr const char* TASK_ID = "t1aaaaaaaaaaaaaaaaaaaaaaa";
constexpr const char* OLD_TASK_ID = "t0aaaaaaaaaaaaaaaaaaaaaaa";

void fillTask(schema::Task::Builder task, kj::StringPtr id, schema::TaskState desired,
              schema::TaskState state, int64_t ageS, kj::StringPtr error) {
  int64_t now = static_cast<int64_t>(::time(nullptr)) * 1'000'000'000;
  task.initMeta().setId(id);
  task.getMeta().setCreatedAtNs(now - ageS * 1'000'000'000);
  task.setServiceId("s1");
  task.setServiceName("web");
  task.setSlot(1);
  task.setNodeId(NODE_ID);
  task.initSpec().initContainer().setImage("nginx:1");
  task.setDesired(desired);
  auto status = task.initStatus();
  status.setState(state);
  status.setAtNs(now - ageS * 1'000'000'000);
  status.setError(error);
}

}  // namespace

class RecordingCluster final : public RecordingPlans {
 public:
  RecordingCluster(RecordingServer& owner, RecordingServer::State& state, kj::Timer& timer)
      : RecordingPlans(owner.calls), owner(owner), state(state), timer(timer) {
    script = &owner.backups;
  }

  kj::Promise<void> createService(CreateServiceContext context) override {
    auto params = context.getParams();
    auto name = note("createService", params.getRequestId(), params.getSpec().getName());
    keepSpec(params.getSpec());
    keepLogin(params.getLogin());
    bool repeated = state.answers.count(params.getRequestId().cStr()) > 0;
    if (!repeated && state.services.count(name) > 0) {
      fail(kj::str("a service named '", name.c_str(), "' exists; choose another name"));
    }
    state.answers[params.getRequestId().cStr()] = name;
    if (!repeated) {
      auto message = kj::heap<capnp::MallocMessageBuilder>();
      auto service = message->initRoot<schema::Service>();
      service.initMeta().setId(kj::str("id-of-", name.c_str()));
      service.getMeta().setVersion(++state.revision);
      service.setSpec(params.getSpec());
      state.services[name] = kj::mv(message);
    }
    breakIfTold();
    context.getResults().setService(find(name));
    return kj::READY_NOW;
  }
  kj::Promise<void> updateService(UpdateServiceContext context) override {
    auto params = context.getParams();
    note("updateService", params.getRequestId(), params.getId());
    owner.lastVersion = params.getVersion();
    keepSpec(params.getSpec());
    keepLogin(params.getLogin());
    breakIfTold();
    if (owner.outOfSequence > 0) {
      --owner.outOfSequence;
      fail(kj::str("update out of sequence: read it again"));
    }
    context.getResults().setService(find(params.getId().cStr()));
    auto service = context.getResults().getService();
    service.setSpec(params.getSpec());
    auto kept = find(params.getId().cStr());
    for (auto& entry : state.services) {
      auto object = entry.second->getRoot<schema::Service>();
      if (object.getMeta().getId() != kept.getMeta().getId()) continue;
      object.setPreviousSpec(object.getSpec().asReader());
      auto past = object.initHistory(1)[0];
      past.setNumber(1);
      past.initOutcome().setState(schema::UpdateStatus::State::PAUSED);
      past.getOutcome().setMessage("update paused: task web.2: exit 1");
      past.getOutcome().setStartedAtNs(1);
      object.setSpec(params.getSpec());
    }
    if (owner.updates) fillUpdate(service.initUpdate(), schema::UpdateStatus::State::UPDATING, 2);
    return kj::READY_NOW;
  }
  kj::Promise<void> scaleService(ScaleServiceContext context) override {
    auto params = context.getParams();
    note("scaleService", params.getRequestId(), kj::str(params.getId(), "=", params.getReplicas()));
    breakIfTold();
    context.getResults().setService(find(params.getId().cStr()));
    if (owner.pausedBefore) markPaused(context.getResults().getService());
    return kj::READY_NOW;
  }
  kj::Promise<void> removeService(RemoveServiceContext context) override {
    auto params = context.getParams();
    note("removeService", params.getRequestId(), params.getId());
    auto id = kj::str(find(params.getId().cStr()).getMeta().getId());
    state.removed.push_back(id.cStr());
    breakIfTold();
    context.getResults().setServiceId(id);
    return kj::READY_NOW;
  }
  kj::Promise<void> init(InitContext context) override {
    note("init", context.getParams().getRequestId(), context.getParams().getName());
    context.getResults().initCluster().setName(context.getParams().getName());
    context.getResults().setCreated(true);
    owner.lastPools = kj::str(kj::strArray(context.getParams().getAddressPools(), " "), " / ",
                              context.getParams().getAddressPoolPrefix())
                          .cStr();
    return kj::READY_NOW;
  }
  kj::Promise<void> services(ServicesContext context) override {
    auto rows = context.getResults().initServices(
        static_cast<unsigned>(state.services.size() + owner.extraServices));
    unsigned at = 0;
    for (auto& entry : state.services) {
      auto service = entry.second->getRoot<schema::Service>();
      auto row = rows[at++];
      row.setId(service.getMeta().getId());
      row.setName(entry.first);
      auto mode = service.getSpec().getMode();
      row.setMode(mode.isGlobal() ? "global" : "replicated");
      row.setRunning(0);
      fillNumbers(mode, row);
      row.setImage(service.getSpec().getTask().getContainer().getImage());
      row.setPorts(service.getSpec().getEndpoint().getPorts());
      row.setLabels(service.getSpec().getLabels());
    }
    for (; at < rows.size(); ++at) {
      rows[at].setId(kj::str("extra", at, "aaaaaaaaaaaaaaaaa"));
      rows[at].setName(kj::str("service-", at));
      rows[at].setMode("replicated");
      rows[at].setDesired(1);
      rows[at].setImage("registry.example.com/team/app:1.2.3");
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    context.getResults().setService(find(context.getParams().getId().cStr()));
    if (owner.pausedBefore) markPaused(context.getResults().getService());
    if (owner.job) fillJob(context.getResults().getService().initJob());
    return kj::READY_NOW;
  }
  kj::Promise<void> progress(ProgressContext context) override {
    auto params = context.getParams();
    if (params.getAfter() >= state.revision && owner.unsteady == 0) {
      if (state.asked.get() != nullptr) state.asked->fulfill();
      context.allowCancellation();
      auto timeout = params.getTimeoutMs() * kj::MILLISECONDS;
      return timer.afterDelay(timeout).then([this, context]() mutable { tellProgress(context); });
    }
    if (params.getAfter() >= state.revision) {
      ++state.revision;
      owner.converges = !owner.converges;
      if (owner.converges) --owner.unsteady;
    }
    tellProgress(context);
    return kj::READY_NOW;
  }
  void tellProgress(ProgressContext context) {
    auto params = context.getParams();
    auto results = context.getResults();
    results.setRevision(state.revision);
    auto progress = results.initProgress();
    progress.setVerdict(owner.converges                      ? schema::Verdict::CONVERGED
                        : owner.paused || owner.pausedBefore ? schema::Verdict::PAUSED
                        : owner.stuck                        ? schema::Verdict::STUCK
                                                             : schema::Verdict::WORKING);
    for (auto& id : state.removed) {
      if (params.getId() == id.c_str()) progress.setVerdict(schema::Verdict::GONE);
    }
    progress.setDesired(2);
    progress.setRunning(owner.converges ? 2 : 1);
    fillStates(progress, owner.taskStates);
    progress.setJob(owner.job);
    progress.setCompleted(owner.converges ? 2 : 1);
    progress.setProblem(owner.problem);
    if (owner.paused) {
      progress.getUpdate().setState(schema::UpdateStatus::State::PAUSED);
      progress.getUpdate().setMessage("update paused: task web.1 failed: exit 1");
    }
    if (owner.pausedBefore) {
      fillUpdate(progress.initUpdate(), schema::UpdateStatus::State::PAUSED, 1);
      progress.setProblem(progress.getUpdate().getMessage());
    }
    if (owner.updates) {
      fillUpdate(progress.initUpdate(), schema::UpdateStatus::State::COMPLETED,
                 owner.superseded ? 3 : 2);
    }
  }
  kj::Promise<void> tasks(TasksContext context) override {
    auto tasks = context.getResults().initTasks(2);
    fillTask(tasks[0], OLD_TASK_ID, schema::TaskState::SHUTDOWN, schema::TaskState::FAILED, 300,
             "task: non-zero exit (1), which is a long story");
    fillTask(tasks[1], TASK_ID, schema::TaskState::RUNNING, schema::TaskState::RUNNING, 120, "");
    if (!owner.job) return kj::READY_NOW;
    fillTask(tasks[1], TASK_ID, schema::TaskState::SHUTDOWN, schema::TaskState::COMPLETE, 120, "");
    tasks[0].setIteration(1);
    tasks[1].setIteration(1);
    return kj::READY_NOW;
  }
  kj::Promise<void> updateNode(UpdateNodeContext context) override {
    auto params = context.getParams();
    auto role = params.getChange().getRole();
    if (role.isSet()) {
      owner.calls.push_back(kj::str(role.getSet(), " ", params.getId()).cStr());
      if (!owner.refusal.empty()) fail(kj::str(owner.refusal.c_str()));
    }
    context.getResults().initNode().initDescription().setHostname(params.getId());
    return kj::READY_NOW;
  }
  kj::Promise<void> nodeProgress(NodeProgressContext context) override {
    auto after = context.getParams().getAfter();
    context.getResults().setRevision(after + 1);
    owner.drain.at(after)(context.getResults().initProgress());
    return kj::READY_NOW;
  }
  kj::Promise<void> volumes(VolumesContext context) override {
    auto volume = context.getResults().initVolumes(1)[0];
    volume.setName("data");
    volume.setDriver("local");
    volume.setNode("node-1");
    volume.setPath("/v/data");
    volume.initUsedBy(1).set(0, "web.1");
    context.getResults().initMissing(1).set(0, "node-2: it has no session with the manager");
    return kj::READY_NOW;
  }
  kj::Promise<void> removeVolume(RemoveVolumeContext context) override {
    auto name = context.getParams().getName();
    owner.calls.push_back(kj::str("removeVolume ", name).cStr());
    if (name != "data") fail(kj::str("no volume '", name, "'; see 'orch volume ls'"));
    context.getResults().initNodes(1).set(0, "node-1");
    return kj::READY_NOW;
  }
  kj::Promise<void> exec(ExecContext context) override {
    auto params = context.getParams();
    owner.calls.push_back(kj::str("exec ", params.getId()).cStr());
    owner.lastProgram->setRoot(params.getProgram());
    auto program = kj::heap<RecordedProgram>(owner, params.getProgram(), params.getOutput());
    context.getResults().setRunning(kj::mv(program));
    if (!owner.speaksFirst) return kj::READY_NOW;
    auto speaking = params.getOutput().writeRequest();
    speaking.setData("ready\n"_kj.asBytes());
    return speaking.send().ignoreResult().then([this] {
      auto interrupted = kj::newPromiseAndFulfiller<void>();
      state.interrupted = kj::mv(interrupted.fulfiller);
      state.asked->fulfill();
      return kj::mv(interrupted.promise);
    });
  }
  kj::Promise<void> attach(AttachContext context) override {
    auto params = context.getParams();
    owner.calls.push_back(
        kj::str("attach ", params.getId(), params.getInput() ? " in" : "").cStr());
    auto results = context.getResults();
    results.setTask("web.1");
    results.setTakesInput(owner.takesInput);
    results.setRunning(recordedMain(owner, params.getInput(), params.getOutput()));
    return kj::READY_NOW;
  }
  kj::Promise<void> logs(LogsContext context) override {
    state.logOptions->setRoot(context.getParams().getOptions());
    auto sink = context.getParams().getSink();
    auto request = sink.linesRequest();
    auto lines = request.initLines(4);
    const char* texts[] = {"hello", "oops", "half of", " a line"};
    for (unsigned i = 0; i < 4; ++i) {
      lines[i].setTimeNs(1'700'000'000'000'000'000 + i);
      lines[i].setText(kj::StringPtr(texts[i]).asBytes());
      lines[i].setTaskId(TASK_ID);
      lines[i].setTaskName(kj::str("web.1.", TASK_ID));
      lines[i].setNodeId(NODE_ID);
      lines[i].setPartial(i == 2);
      if (i == 1) lines[i].setStream(schema::LogLine::Stream::STDERR);
    }
    return request.send().ignoreResult();
  }

 private:
  std::string note(kj::StringPtr call, kj::StringPtr requestId, kj::StringPtr object) {
    owner.calls.push_back(kj::str(call, " ", object).cStr());
    owner.requestIds.push_back(requestId.cStr());
    if (!owner.refusal.empty()) fail(kj::str(owner.refusal.c_str()));
    return object.cStr();
  }
  void keepLogin(schema::RegistryLogin::Reader login) {
    auto all = kj::str(login.getRegistry(), " ", login.getUser(), " ", login.getPassword());
    owner.lastLogin = login.getUser().size() == 0 ? "" : all.cStr();
  }
  void keepSpec(schema::ServiceSpec::Reader spec) {
    state.spec = kj::heap<capnp::MallocMessageBuilder>();
    state.spec->setRoot(spec);
  }
  schema::Service::Reader find(const std::string& name) {
    for (auto& entry : state.services) {
      auto service = entry.second->getRoot<schema::Service>().asReader();
      if (entry.first == name || service.getMeta().getId() == name.c_str()) return service;
    }
    fail(kj::str("no service '", name.c_str(), "'; see 'orch service ls'"));
  }
  void breakIfTold() {
    if (owner.disconnects == 0) return;
    --owner.disconnects;
    owner.refusal = owner.refusalAfter;
    owner.breakConnections();
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "orchd ended"));
  }

  static void fillUpdate(schema::UpdateStatus::Builder update, schema::UpdateStatus::State state,
                         int64_t startedAtNs) {
    update.setState(state);
    update.setStartedAtNs(startedAtNs);
    update.setMessage("update paused: task web.1 failed: exit 1");
  }
  static void markPaused(schema::Service::Builder service) {
    fillUpdate(service.initUpdate(), schema::UpdateStatus::State::PAUSED, 1);
  }

  RecordingServer& owner;
  RecordingServer::State& state;
  kj::Timer& timer;
};

namespace {

class RecordingGateway final : public schema::Gateway::Server {
 public:
  RecordingGateway(RecordingServer& owner, schema::ClusterControl::Client cluster)
      : owner(owner), cluster(kj::mv(cluster)) {}

  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion("9.9.9");
    context.getResults().setNode("node-1");
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    auto name = context.getParams().getName();
    if (name == "cluster") {
      context.getResults().setCapability(cluster);
    } else if (name == "kernel") {
      context.getResults().setCapability(kj::heap<RecordingKernel>());
    } else if (name == "image.oci" && owner.hasImages) {
      context.getResults().setCapability(kj::heap<RecordingImages>(TASK_ID));
    } else if (name == "discovery") {
      context.getResults().setCapability(kj::heap<RecordingDiscovery>());
    } else if (name == "integration.template") {
      context.getResults().setCapability(kj::heap<RecordingTemplates>());
    } else {
      fail(kj::str("no service '", name, "' runs here; there are cluster and kernel"));
    }
    return kj::READY_NOW;
  }

 private:
  RecordingServer& owner;
  schema::ClusterControl::Client cluster;
};

kj::Promise<void> acceptAll(kj::Own<kj::ConnectionReceiver> receiver, RecordingServer::State& state,
                            capnp::Capability::Client gateway) {
  auto next = receiver->accept();
  return next.then([receiver = kj::mv(receiver), &state,
                    gateway = kj::mv(gateway)](kj::Own<kj::AsyncIoStream> stream) mutable {
    auto link = kj::heap<RecordingServer::State::Link>();
    link->stream = kj::mv(stream);
    link->network =
        kj::heap<capnp::TwoPartyVatNetwork>(*link->stream, capnp::rpc::twoparty::Side::SERVER);
    link->rpc = kj::heap<capnp::RpcSystem<capnp::rpc::twoparty::VatId>>(
        capnp::makeRpcServer(*link->network, gateway));
    state.links.add(kj::mv(link));
    return acceptAll(kj::mv(receiver), state, kj::mv(gateway));
  });
}

}  // namespace

RecordingServer::RecordingServer() : io(kj::setupAsyncIo()), env(newSystemEnv(io)) {
  char name[] = "/tmp/orch-cli-test-XXXXXX";
  KJ_ASSERT(mkdtemp(name) != nullptr);
  folder = name;
  path = folder + "/orchd.sock";
  state = kj::heap<State>();
  listen();
}

RecordingServer::~RecordingServer() noexcept(false) {
  state->links.clear();
  state->accepting = nullptr;
  std::filesystem::remove_all(folder);
}

void RecordingServer::listen() {
  auto address = env->network().parseAddress(kj::str("unix:", path.c_str())).wait(io.waitScope);
  capnp::Capability::Client gateway =
      kj::heap<RecordingGateway>(*this, kj::heap<RecordingCluster>(*this, *state, env->timer()));
  state->accepting =
      acceptAll(address->listen(), *state, kj::mv(gateway)).eagerlyEvaluate([](kj::Exception&&) {});
}

// The streams are shut, so that what the program sees is what a killed orchd leaves behind.
void RecordingServer::breakConnections() {
  for (auto& link : state->links) link->stream->shutdownWrite();
  for (auto& link : state->links) link->stream->abortRead();
  if (!comesBack) {
    state->accepting = nullptr;
    unlink(path.c_str());
  }
}

schema::ServiceSpec::Reader RecordingServer::lastSpec() {
  return state->spec->getRoot<schema::ServiceSpec>().asReader();
}

schema::LogOptions::Reader RecordingServer::lastLogOptions() {
  return state->logOptions->getRoot<schema::LogOptions>().asReader();
}

Ran RecordingServer::run(std::vector<std::string> words, std::vector<std::string> variables) {
  ProcessSpec spec;
  spec.argv.add(kj::str(ORCH_PROGRAM));
  for (auto& word : words) spec.argv.add(kj::str(word.c_str()));
  spec.env.add(kj::str("ORCH_HOST=unix://", path.c_str()));
  for (auto& variable : variables) spec.env.add(kj::str(variable.c_str()));
  auto result = env->command(kj::mv(spec)).wait(io.waitScope);
  return Ran{result.status, result.output.cStr(), result.errors.cStr()};
}

Ran RecordingServer::runAndInterrupt(std::vector<std::string> words, int signal) {
  auto asked = kj::newPromiseAndFulfiller<void>();
  state->asked = kj::mv(asked.fulfiller);
  int fds[2];
  KJ_SYSCALL(pipe(fds));
  kj::AutoCloseFd readEnd(fds[0]);
  kj::AutoCloseFd writeEnd(fds[1]);
  ProcessSpec spec;
  spec.argv.add(kj::str(ORCH_PROGRAM));
  for (auto& word : words) spec.argv.add(kj::str(word.c_str()));
  spec.env.add(kj::str("ORCH_HOST=", path.c_str()));
  spec.fds.add(ProcessSpec::Fd{1, writeEnd});
  spec.fds.add(ProcessSpec::Fd{2, writeEnd});
  auto process = env->processes().spawn(kj::mv(spec)).wait(io.waitScope);
  writeEnd = nullptr;
  asked.promise.wait(io.waitScope);
  process->signal(signal);
  if (state->interrupted.get() != nullptr) state->interrupted->fulfill();
  int status = process->onExit().wait(io.waitScope);
  char text[4096];
  ssize_t n = ::read(readEnd, text, sizeof(text));
  return Ran{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
             std::string(text, n > 0 ? static_cast<size_t>(n) : 0), ""};
}

Words create(Words options, Words rest) {
  Words words = {"service", "create", "--name", "web"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), rest.begin(), rest.end());
  return words;
}

}  // namespace orch::cli
