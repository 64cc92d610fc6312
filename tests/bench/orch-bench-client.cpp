// orch-bench-client SOCKET RUNTIME: what scripts/bench speaks to orch through. One connection, kept
// open; a command per line on stdin, an answer per line on stdout, in order:
//   ok MICROSECONDS [VALUE]   from the request being sent to its answer being here
//   error TEXT
// The words of a command are separated by blanks; see `usage` for what each takes. The benchmarks
// start one of these per connection, so that no process start is part of a request's latency.
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/schema/image.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/schema/runtime.capnp.h"

namespace orch::bench {
namespace {

using Words = std::vector<std::string>;

class SilentProgress final : public schema::Progress::Server {
  kj::Promise<void> update(UpdateContext) override { return kj::READY_NOW; }
};

class Client {
 public:
  Client(kj::StringPtr socket, kj::StringPtr runtime)
      : io(kj::setupAsyncIo()),
        stream(io.provider->getNetwork()
                   .parseAddress(kj::str("unix:", socket))
                   .wait(io.waitScope)
                   ->connect()
                   .wait(io.waitScope)),
        rpc(*stream),
        gateway(rpc.bootstrap().castAs<schema::Gateway>()),
        cluster(service<schema::ClusterControl>("cluster")),
        runtime(kj::str(runtime)),
        requestPrefix(kj::str("bench-", getpid(), "-")) {}

  // Runs one command; its value is printed after the time, and may be empty.
  std::string run(const Words& words) {
    auto command = COMMANDS.find(words.at(0));
    if (command == COMMANDS.end() || words.size() != command->second.words + 1) {
      fail(kj::str("usage: ", words.at(0).c_str(), " is not a command, or has other arguments"));
    }
    started = std::chrono::steady_clock::now();
    finished = started;
    return (this->*command->second.run)(words);
  }

  int64_t elapsedUs() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(finished - started).count();
  }

 private:
  struct Command {
    size_t words;
    std::string (Client::*run)(const Words&);
  };
  static const std::map<std::string, Command> COMMANDS;

  template <typename Interface>
  typename Interface::Client service(kj::StringPtr name) {
    auto request = gateway.serviceRequest();
    request.setName(name);
    return request.send().getCapability().castAs<Interface>();
  }

  // Sends, waits, and takes the time of that alone.
  template <typename Request>
  auto ask(Request&& request) {
    started = std::chrono::steady_clock::now();
    auto response = request.send().wait(io.waitScope);
    finished = std::chrono::steady_clock::now();
    return response;
  }

  kj::String requestId() { return kj::str(requestPrefix, ++requests); }

  static void setCommand(schema::ContainerSpec::Builder container, const std::string& label) {
    auto command = container.initCommand(2);
    command.set(0, "/bin/wl");
    command.set(1, label.c_str());
  }

  void fillSpec(schema::ServiceSpec::Builder spec, const Words& words) {
    spec.setName(words[1].c_str());
    spec.getMode().initReplicated().setReplicas(std::stoul(words[2]));
    auto task = spec.initTask();
    auto container = task.initContainer();
    container.setImage("bench:1");
    setCommand(container, words[7]);
    task.setRuntime(runtime);
    if (words[3] != "bridge") task.initNetworks(1)[0].setName(words[3].c_str());
    task.initRestart().setDelayMs(std::stoll(words[4]));
    auto update = spec.initUpdate();
    update.setParallelism(std::stoul(words[6]));
    bool startFirst = words[5] == "start-first";
    update.setOrder(startFirst ? schema::UpdateConfig::Order::START_FIRST
                               : schema::UpdateConfig::Order::STOP_FIRST);
    spec.initEndpoint().setMode(schema::EndpointSpec::Mode::DNSRR);
  }

  std::string version(const Words&) {
    auto response = ask(gateway.versionRequest());
    return response.getVersion().cStr();
  }

  // How many plugins of the manifest neither run nor have failed.
  std::string unsettled(const Words&) {
    auto response = ask(service<schema::Kernel>("kernel").pluginsRequest());
    size_t count = 0;
    for (auto plugin : response.getPlugins()) {
      bool settled = plugin.getState() == schema::PluginStatus::State::RUNNING ||
                     plugin.getState() == schema::PluginStatus::State::FAILED;
      if (!settled) ++count;
    }
    return std::to_string(count);
  }

  std::string init(const Words& words) {
    auto request = cluster.initRequest();
    request.setRequestId(requestId());
    request.setName(words[1].c_str());
    ask(kj::mv(request));
    return "";
  }

  // How many nodes are ready.
  std::string ready(const Words&) {
    auto response = ask(cluster.nodesRequest());
    size_t count = 0;
    for (auto node : response.getNodes()) {
      if (node.getState() == schema::Node::State::READY) ++count;
    }
    return std::to_string(count);
  }

  // `ID,STATE,ADDRESS,ROLE` of each, where the role is that of a manager, `leader` or nothing.
  std::string nodes(const Words&) {
    auto response = ask(cluster.nodesRequest());
    std::string all;
    for (auto node : response.getNodes()) {
      bool manages = node.getRole() == schema::Node::Role::MANAGER;
      auto role = node.getLeader() ? "leader"_kj : manages ? "manager"_kj : ""_kj;
      all += kj::str(node.getMeta().getId(), ",", node.getState(), ",", node.getAddress(), ",",
                     role, " ")
                 .cStr();
    }
    return all;
  }

  // `NODE` of each task of a service that runs and is to run.
  std::string runningOn(const Words& words) {
    auto request = cluster.tasksRequest();
    request.initFilter().setServiceId(words[1].c_str());
    auto response = ask(kj::mv(request));
    std::string all;
    for (auto task : response.getTasks()) {
      bool runs = task.getStatus().getState() == schema::TaskState::RUNNING &&
                  task.getDesired() == schema::TaskState::RUNNING;
      if (runs) all += kj::str(task.getNodeId(), " ").cStr();
    }
    return all;
  }

  std::string drain(const Words& words) {
    auto request = cluster.updateNodeRequest();
    request.setRequestId(requestId());
    request.setId(words[1].c_str());
    request.initChange().getAvailability().setSet(schema::Node::Availability::DRAIN);
    ask(kj::mv(request));
    return "";
  }

  std::string import(const Words& words) {
    auto request = service<schema::ImageStore>("image.oci").importRequest();
    request.setPath(words[1].c_str());
    request.setReference(words[2].c_str());
    request.setProgress(kj::heap<SilentProgress>());
    auto response = ask(kj::mv(request));
    return std::to_string(response.getImages().size());
  }

  std::string create(const Words& words) {
    auto request = cluster.createServiceRequest();
    request.setRequestId(requestId());
    fillSpec(request.initSpec(), words);
    auto response = ask(kj::mv(request));
    return response.getService().getMeta().getId().cStr();
  }

  std::string scale(const Words& words) {
    auto request = cluster.scaleServiceRequest();
    request.setRequestId(requestId());
    request.setId(words[1].c_str());
    request.setReplicas(std::stoul(words[2]));
    ask(kj::mv(request));
    return "";
  }

  template <typename F>
  std::string change(const std::string& service, F&& edit) {
    auto current = find(service);
    auto request = cluster.updateServiceRequest();
    request.setRequestId(requestId());
    request.setId(service.c_str());
    request.setVersion(current.getService().getMeta().getVersion());
    request.setSpec(current.getService().getSpec());
    edit(request.getSpec());
    ask(kj::mv(request));
    return "";
  }

  // Another command: every task is replaced.
  std::string relabel(const Words& words) {
    return change(words[1], [&](schema::ServiceSpec::Builder spec) {
      setCommand(spec.getTask().getContainer(), words[2]);
    });
  }

  // A program that no image has: the update fails, and is to be taken back.
  std::string breakUpdate(const Words& words) {
    return change(words[1], [&](schema::ServiceSpec::Builder spec) {
      spec.getTask().getContainer().initCommand(1).set(0, words[2].c_str());
      auto update = spec.getUpdate();
      update.setFailureAction(schema::UpdateConfig::FailureAction::ROLLBACK);
      auto rollback = spec.initRollback();
      rollback.setParallelism(update.getParallelism());
      rollback.setOrder(update.getOrder());
    });
  }

  std::string remove(const Words& words) {
    auto request = cluster.removeServiceRequest();
    request.setRequestId(requestId());
    request.setId(words[1].c_str());
    ask(kj::mv(request));
    return "";
  }

  capnp::Response<schema::ClusterControl::ServiceResults> find(const std::string& name) {
    auto request = cluster.serviceRequest();
    request.setId(name.c_str());
    return ask(kj::mv(request));
  }

  std::string running(const Words& words) {
    auto response = find(words[1]);
    return std::to_string(response.getRunning());
  }

  std::string isIn(const std::string& service, schema::UpdateStatus::State state) {
    auto response = find(service);
    return response.getService().getUpdate().getState() == state ? "1" : "0";
  }

  std::string updateDone(const Words& words) {
    return isIn(words[1], schema::UpdateStatus::State::COMPLETED);
  }

  std::string rolledBack(const Words& words) {
    return isIn(words[1], schema::UpdateStatus::State::ROLLBACK_COMPLETED);
  }

  std::string list(const Words&) {
    auto response = ask(cluster.servicesRequest());
    return std::to_string(response.getServices().size());
  }

  // Of the runtime itself, whatever the manager believes.
  std::string containers(const Words&) {
    auto request = service<schema::Runtime>(kj::str("runtime.", runtime)).listRequest();
    auto response = ask(kj::mv(request));
    return std::to_string(response.getContainers().size());
  }

  // Addresses that the bridge has given out.
  std::string endpoints(const Words&) {
    auto response = ask(service<schema::NetworkDriver>("network.bridge").infoRequest());
    return std::to_string(response.getUsed());
  }

  kj::AsyncIoContext io;
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyClient rpc;
  schema::Gateway::Client gateway;
  schema::ClusterControl::Client cluster;
  kj::String runtime;
  kj::String requestPrefix;
  uint64_t requests = 0;
  std::chrono::steady_clock::time_point started;
  std::chrono::steady_clock::time_point finished;
};

const std::map<std::string, Client::Command> Client::COMMANDS = {
    {"version", {0, &Client::version}},
    {"unsettled", {0, &Client::unsettled}},
    {"init", {1, &Client::init}},  // CLUSTER
    {"ready", {0, &Client::ready}},
    {"nodes", {0, &Client::nodes}},
    {"running_on", {1, &Client::runningOn}},    // NAME
    {"drain", {1, &Client::drain}},             // NODE
    {"import", {2, &Client::import}},           // PATH REFERENCE
    {"create", {7, &Client::create}},           // NAME N NET DELAYMS ORDER PARALLELISM LABEL
    {"scale", {2, &Client::scale}},             // NAME N
    {"relabel", {2, &Client::relabel}},         // NAME LABEL
    {"remove", {1, &Client::remove}},           // NAME
    {"running", {1, &Client::running}},         // NAME
    {"update_done", {1, &Client::updateDone}},  // NAME
    {"fail", {2, &Client::breakUpdate}},        // NAME PROGRAM
    {"rolled_back", {1, &Client::rolledBack}},  // NAME
    {"list", {0, &Client::list}},
    {"containers", {0, &Client::containers}},
    {"endpoints", {0, &Client::endpoints}},
};

Words split(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// An error's text may have several lines; an answer is one.
std::string oneLine(kj::StringPtr text) {
  std::string line = text.cStr();
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  return line;
}

int serve(kj::StringPtr socket, kj::StringPtr runtime) {
  Client client(socket, runtime);
  for (std::string line; std::getline(std::cin, line);) {
    auto words = split(line);
    if (words.empty()) continue;
    auto outcome = attemptNow([&] { return client.run(words); });
    if (outcome.ok()) {
      std::cout << "ok " << client.elapsedUs() << " " << outcome.value() << std::endl;
    } else {
      std::cout << "error " << oneLine(plainText(outcome.error())) << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace orch::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: orch-bench-client SOCKET RUNTIME" << std::endl;
    return 2;
  }
  auto outcome = orch::attemptNow([&] { return orch::bench::serve(argv[1], argv[2]); });
  if (outcome.ok()) return outcome.value();
  std::cerr << "orch-bench-client: " << orch::plainText(outcome.error()).cStr() << std::endl;
  return 1;
}
