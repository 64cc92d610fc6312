// The agent of a node: keeps a session with the leading manager, takes its assignments, reports
// what becomes of them. Cut off from every manager it keeps its tasks running.
#pragma once

#include <kj/refcount.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "alone.h"
#include "beat-thread.h"
#include "network-plan.h"
#include "orch/schema/agent.capnp.h"
#include "services.h"
#include "task-controller.h"
#include "task-store.h"
#include "told-check.h"

namespace orch::control::agent {

class NodeAgent final : private TaskObserver,
                        private TaskFeed::Source,
                        private LeftoverCleaner,
                        private kj::TaskSet::ErrorHandler {
 public:
  NodeAgent(Env& env, Host& host, Config::Reader settings);
  ~NodeAgent() noexcept(false) override;

  // Takes over what the last run left, then looks for a manager until `stop`.
  Task<void> start();
  // Ends the session. Containers go on.
  Task<void> stop();

  // For other plugins of this host. May outlive the agent: its calls fail with DISCONNECTED then.
  schema::Agent::Client client();
  // The same of its tasks.
  schema::TaskFeed::Client feed();

 private:
  class Server;
  // For a manager. `dropped`: fulfilled when it does not have it any more.
  schema::Agent::Client clientForManager(kj::Own<kj::PromiseFulfiller<void>> dropped);
  class Waker;
  class FeedServer;
  class Finder;
  // Rung by events; who waits for it also hears what came while it did something else.
  class Bell final {
   public:
    void ring();
    kj::Promise<void> heard();

   private:
    bool rung = false;
    kj::Own<kj::PromiseFulfiller<void>> waiting;
  };
  // What capabilities that others hold know of the agent: nothing, once it is gone.
  struct Link final : public kj::Refcounted {
    explicit Link(NodeAgent& agent) : agent(agent) {}
    NodeAgent& get();
    kj::Maybe<NodeAgent&> agent;
  };
  using AssignContext =
      capnp::CallContext<schema::Agent::AssignParams, schema::Agent::AssignResults>;
  using LogsContext = capnp::CallContext<schema::Agent::LogsParams, schema::Agent::LogsResults>;
  using VolumesContext =
      capnp::CallContext<schema::Agent::VolumesParams, schema::Agent::VolumesResults>;
  using RemoveVolumeContext =
      capnp::CallContext<schema::Agent::RemoveVolumeParams, schema::Agent::RemoveVolumeResults>;
  using PruneVolumesContext =
      capnp::CallContext<schema::Agent::PruneVolumesParams, schema::Agent::PruneVolumesResults>;
  using CheckNetworksContext =
      capnp::CallContext<schema::Agent::CheckNetworksParams, schema::Agent::CheckNetworksResults>;
  using ExecContext = capnp::CallContext<schema::Agent::ExecParams, schema::Agent::ExecResults>;
  using AttachContext =
      capnp::CallContext<schema::Agent::AttachParams, schema::Agent::AttachResults>;
  using ProcessesContext =
      capnp::CallContext<schema::Agent::ProcessesParams, schema::Agent::ProcessesResults>;
  using TasksContext = capnp::CallContext<schema::Agent::TasksParams, schema::Agent::TasksResults>;
  using UsageContext = capnp::CallContext<schema::Agent::UsageParams, schema::Agent::UsageResults>;
  using ReadBlobContext = capnp::CallContext<schema::Agent::ReadBlobParams, schema::BlobPart>;
  using FindContext =
      capnp::CallContext<schema::ImageFinder::FindParams, schema::ImageFinder::FindResults>;
  Task<void> assign(AssignContext context);
  Task<void> logs(LogsContext context);
  Task<void> volumes(VolumesContext context);
  Task<void> removeVolume(RemoveVolumeContext context);
  Task<void> pruneVolumes(PruneVolumesContext context);
  // `forManager`: the program ends with the session.
  Task<void> exec(ExecContext context, bool forManager);
  Task<void> attach(AttachContext context, bool forManager);
  Task<void> processes(ProcessesContext context);
  Task<void> usage(UsageContext context);
  schema::Runtime::Client runtimeOf(kj::StringPtr taskId);
  schema::RunningProgram::Client whileInSession(schema::RunningProgram::Client running);
  void listTasks(TasksContext context);
  Task<void> readBlob(ReadBlobContext context);
  Task<void> findImage(FindContext context);
  Task<void> checkNetworks(CheckNetworksContext context);
  struct NetworkSum;
  ToldThings toldThings() const;
  Task<void> askNetworkPlugins(std::string network, bool repair, NetworkSum& sum);
  Task<void> checkTasks(std::string network, bool repair, NetworkSum& sum);
  using Controllers = std::map<std::string, std::unique_ptr<TaskController>>;

  Task<void> clearAll();
  Task<void> clear(kj::String service) override;
  Task<void> retain(kj::String service);
  kj::Promise<void> retainNetwork(kj::StringPtr service);
  kj::Promise<void> retainImages();
  Task<void> clearRuntimes();
  Task<void> removeStrangers(kj::String runtime);
  Task<void> removeStranger(kj::String runtime, kj::String id);
  std::unique_ptr<TaskController> newController(kj::Own<TaskRecord> record);
  kj::Promise<void> take(schema::Assignment::Reader assignment);
  kj::Promise<void> forget(const std::string& id);
  Task<void> forgetLater(std::string id);

  // From now on no manager looks after the tasks (alone.cpp).
  void beAlone();
  kj::ForkedPromise<void> nextSession();
  Task<void> keepAlone();
  void restart(const AlonePlan::Restart& next);
  std::vector<TaskRecord*> localRecords();
  void describeRestart(TaskRecord& local, schema::LocalRestart::Builder restart);
  std::map<std::string, schema::Task::Reader> known();

  Task<void> keepSession();
  Task<void> openSession();
  Task<void> heartbeats(schema::Session::Client session);
  Task<void> askTrust(kj::Maybe<schema::NodeDescription::Builder> description);
  bool isTrusted(const std::string& digest) const;
  Task<void> describe(schema::NodeDescription::Builder description);
  Task<void> describeNetwork(kj::String name, schema::NetworkPool::Builder pool);
  Task<void> describeRoutes(schema::NodeDescription::Builder description);
  Task<void> listen();
  Task<void> describeOnChange(schema::Session::Client session);
  Task<void> offerImages(schema::Session::Client session);
  Task<void> limitImages(schema::Session::Client session);
  Task<void> limitImagesOnce(schema::Session::Client session);
  kj::Promise<void> sendOffer(schema::Session::Client& to,
                              schema::ImageStore::ListResults::Reader here);
  void statusChanged(TaskRecord& record) override;
  std::vector<std::string> fedTasks() override;
  bool isFed(const std::string& id) override;
  void feed(const std::string& id, schema::TaskEntry::Builder entry) override;
  Task<void> reports(schema::Session::Client session);
  kj::Promise<void> sendReport(schema::Session::Client& to, const std::vector<std::string>& batch);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Host& host;
  Config::Reader settings;
  TaskStore store;
  NetworkPlan plan;
  NodeServices services;
  kj::Maybe<schema::Session::Client> session;  // the last that was opened
  kj::Own<kj::PromiseFulfiller<void>> sessionEnds;
  kj::ForkedPromise<void> sessionOver = nextSession();  // settles when the one that is open is over
  BeatThread beats;                                     // while it is open
  bool leaves = false;                                  // its cluster, with the next start
  std::string cluster;      // the digest of its authority; empty: of this host alone
  std::string authorities;  // PEM: that, and those that it takes the place of
  uint64_t epoch = 0;  // of the leader that this node follows; durable before it is acknowledged

  Controllers controllers;
  std::set<std::string> leaving;                     // controllers that are being removed
  std::set<std::string> dirty;                       // whose status the manager has not heard
  std::set<std::string> told;                        // local tasks that the session began with
  kj::Own<kj::PromiseFulfiller<void>> reportWanted;  // wakes reports()
  bool stopped = false;
  std::vector<std::string> routes;  // of the host, as it last said them
  std::string balancer;             // the same: what leads connections to virtual addresses
  std::string encryptionKey;        // the same: of encrypted networks
  std::string encryptionProblem;
  Bell pluginsChanged;  // for describeOnChange
  Bell imagesChanged;   // for offerImages
  capnp::Capability::Client subscription = nullptr;
  kj::TaskSet tasks;
  kj::Promise<void> sessionLoop = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> aloneChanged;  // wakes keepAlone
  bool isAlone = false;                              // there is no session
  kj::Promise<void> alone = nullptr;
  kj::Own<Link> link = kj::refcounted<Link>(*this);
  kj::Canceler calls;  // last: what it ends uses all of the above
};

}  // namespace orch::control::agent
