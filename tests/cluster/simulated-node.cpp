#include "simulated-node.h"

namespace orch::testing {

SimulatedNode::SimulatedNode(VirtualWorld& world, const TestFolder& folder)
    : kernel(world.env(), manifest(folder), places(), ""), world(world) {
  kernel.start().wait(world.waitScope());
  for (auto* runner : kernel.plugins().runners()) {
    KJ_REQUIRE(runner->state() == plugin::PluginRunner::State::RUNNING, runner->entry().id.c_str(),
               runner->reason().c_str());
  }
}

SimulatedNode::~SimulatedNode() noexcept(false) { kernel.stop().wait(world.waitScope()); }

config::Manifest SimulatedNode::manifest(const TestFolder& folder) {
  return config::parseManifest(std::string("[node]\nname = 'sim'\nlogLevel = 'error'\ndata = '") +
                                   folder.path().cStr() + "'\nrun = '" + folder.sub("run").cStr() +
                                   "'\n"
                                   "[[plugin]]\nid = 'store.local'\n"
                                   "[[plugin]]\nid = 'store.local#agent'\n"
                                   "[[plugin]]\nid = 'scheduler.spread'\n"
                                   "[[plugin]]\nid = 'filter.constraint'\n"
                                   "[[plugin]]\nid = 'runtime.sim'\n"
                                   "[[plugin]]\nid = 'control.manager'\n"
                                   "[[plugin]]\nid = 'control.agent'\n",
                               "sim.toml");
}

plugin::PluginPlaces SimulatedNode::places() {
  plugin::PluginPlaces places;
  places.folders = {SHIPPED_PLUGINS};
  places.ownFolder = SHIPPED_PLUGINS;
  return places;
}

schema::ClusterControl::Client SimulatedNode::cluster() {
  auto request = kernel.gateway().serviceRequest();
  request.setName("cluster");
  return request.send().wait(world.waitScope()).getCapability().castAs<schema::ClusterControl>();
}

void SimulatedNode::createService(kj::StringPtr name, uint32_t replicas,
                                  std::initializer_list<kj::StringPtr> env) {
  auto request = cluster().createServiceRequest();
  request.setRequestId(world.env().newId());
  auto spec = request.initSpec();
  spec.setName(name);
  spec.getMode().initReplicated().setReplicas(replicas);
  auto task = spec.initTask();
  task.setRuntime("sim");
  task.initNetworks(1)[0].setName("none");
  auto container = task.initContainer();
  container.setImage("sim:1");
  auto list = container.initEnv(env.size());
  uint32_t i = 0;
  for (auto& entry : env) list.set(i++, entry);
  request.send().wait(world.waitScope());
}

void SimulatedNode::scale(kj::StringPtr name, uint32_t replicas) {
  auto request = cluster().scaleServiceRequest();
  request.setRequestId(world.env().newId());
  request.setId(name);
  request.setReplicas(replicas);
  request.send().wait(world.waitScope());
}

uint32_t SimulatedNode::running(kj::StringPtr name) {
  auto request = cluster().serviceRequest();
  request.setId(name);
  return request.send().wait(world.waitScope()).getRunning();
}

kj::Array<kj::byte> SimulatedNode::eventLog() {
  auto wait = kernel.stop().promise();
  wait.wait(world.waitScope());
  auto path = kj::Path::parse(kernel.manifest().node.data.c_str() + 1).append("events");
  auto directory = world.env().files().getRoot().openSubdir(path);
  kj::Vector<kj::byte> all;
  for (auto& name : directory->listNames()) {
    all.addAll(directory->openFile(kj::Path(kj::str(name)))->readAllBytes());
  }
  return all.releaseAsArray();
}

}  // namespace orch::testing
