// What the checks of legs and of virtual addresses stand on.
#include <kj/debug.h>
#include <sys/socket.h>

#include <algorithm>

#include "orch/conformance/leg-conformance.h"
#include "orch/testing/sockets.h"

namespace orch::conformance {

namespace {

constexpr int HOSTS = 2;
constexpr uint16_t TCP_PORT = 80;
constexpr uint16_t UDP_PORT = 53;

// The same place in fd00:1::/64 as in 10.0.1.0/24.
std::string twinOf(const std::string& address) {
  constexpr const char* DIGITS = "0123456789abcdef";
  int place = std::stoi(address.substr(address.rfind('.') + 1));
  std::string twin = "fd00:1::";
  if (place >= 16) twin += DIGITS[place >> 4];
  return twin + DIGITS[place & 15];
}
// Of what is no address, nothing.
std::string twinIn(const LegSubject& subject, const std::string& address) {
  return subject.ipv6 && address.rfind("10.0.1.", 0) == 0 ? twinOf(address) : "";
}

void write(LegSubject& subject, const News& news, int host, schema::NetworkChange::Builder change) {
  change.setComplete(news.complete);
  auto networks = change.initNetworks(news.networks.size());
  for (size_t i = 0; i < news.networks.size(); ++i) {
    auto& net = news.networks[i];
    networks[i].initMeta().setId(net.id.c_str());
    networks[i].setName(net.id.c_str());
    networks[i].setDriver(subject.driverName());
    networks[i].setSubnet("10.0.1.0/24");
    networks[i].setGateway("10.0.1.1");
    networks[i].setVni(net.vni);
    networks[i].setIpv6(subject.ipv6);
    if (subject.ipv6) {
      networks[i].setSubnet6("fd00:1::/64");
      networks[i].setGateway6("fd00:1::1");
    }
    auto options = networks[i].initOptions(int(!net.mtu.empty()) + int(net.encrypted));
    if (!net.mtu.empty()) {
      options[0].setKey("com.docker.network.driver.mtu");
      options[0].setValue(net.mtu.c_str());
    }
    if (net.encrypted) options[options.size() - 1].setKey("encrypted");
  }
  auto peers = change.initPeers(news.peers.size());
  for (size_t i = 0; i < news.peers.size(); ++i) {
    auto& mate = news.peers[i];
    peers[i].setNetwork(mate.network.c_str());
    peers[i].setTaskId(mate.taskId.c_str());
    peers[i].setServiceId(mate.service.c_str());
    peers[i].setAddress(mate.address.c_str());
    peers[i].setAddress6(twinIn(subject, mate.address).c_str());
    peers[i].setNodeId(subject.nodeId(mate.host, host).c_str());
    peers[i].setNodeAddress(subject.hostAddress(mate.host).c_str());
    peers[i].setServing(mate.serving);
    peers[i].setNodeKey(subject.nodeKey(mate.host).c_str());
  }
  auto services = change.initServices(news.services.size());
  for (size_t i = 0; i < news.services.size(); ++i) {
    services[i].setNetwork(news.services[i].network.c_str());
    services[i].setServiceId(news.services[i].service.c_str());
    services[i].setAddress(news.services[i].address.c_str());
    services[i].setAddress6(twinIn(subject, news.services[i].address).c_str());
    services[i].setAlgorithm(news.services[i].algorithm);
    services[i].setPersistenceMs(news.services[i].persistenceMs);
  }
  auto gone = change.initGonePeers(news.gonePeers.size());
  for (size_t i = 0; i < news.gonePeers.size(); ++i) {
    gone[i].setNetwork(news.gonePeers[i].network.c_str());
    gone[i].setId(news.gonePeers[i].taskId.c_str());
  }
  auto goneNetworks = change.initGoneNetworks(news.goneNetworks.size());
  for (size_t i = 0; i < news.goneNetworks.size(); ++i) {
    goneNetworks.set(i, news.goneNetworks[i].c_str());
  }
}

}  // namespace

std::string LegSubject::used(const std::string& address) const {
  return ipv6 ? twinOf(address) : address;
}

PlugCall plugCall(LegSubject& subject, int host, const std::string& network,
                  const std::string& taskId, const std::string& address,
                  const std::string& device) {
  auto call = subject.driver(host).plugRequest();
  auto leg = call.initLeg();
  leg.setTaskId(taskId.c_str());
  leg.setNamespacePath(subject.namespaceOf(taskId).c_str());
  leg.setNetwork(network.c_str());
  leg.setAddress((address + "/24").c_str());
  auto twin = twinIn(subject, address);
  if (!twin.empty()) leg.setAddress6((twin + "/64").c_str());
  leg.setDevice(device.c_str());
  return call;
}

void plug(LegSubject& subject, int host, const std::string& network, const std::string& taskId,
          const std::string& address, const std::string& device) {
  plugCall(subject, host, network, taskId, address, device).send().wait(subject.waitScope());
}

kj::Promise<void> unplugLater(LegSubject& subject, int host, const std::string& network,
                              const std::string& taskId) {
  auto call = subject.driver(host).unplugRequest();
  call.setTaskId(taskId.c_str());
  call.setNetwork(network.c_str());
  return call.send().ignoreResult();
}

void retain(LegSubject& subject, int host, const std::vector<std::string>& taskIds) {
  auto call = subject.driver(host).retainRequest();
  auto list = call.initTaskIds(taskIds.size());
  for (size_t i = 0; i < taskIds.size(); ++i) list.set(i, taskIds[i].c_str());
  call.send().wait(subject.waitScope());
}

void tell(LegSubject& subject, int host, const News& news) {
  auto call = subject.driver(host).updateRequest();
  write(subject, news, host, call.initChange());
  call.send().wait(subject.waitScope());
}

void tellAll(LegSubject& subject, const News& news) {
  for (int host = 0; host < HOSTS; ++host) tell(subject, host, news);
}

// ---- a service ----------------------------------------------------------------------------------

ServiceTeam::ServiceTeam(LegSubject& subject, std::string network, uint32_t vni, int count)
    : subject(subject), network(std::move(network)), vni(vni) {
  for (int i = 0; i < count; ++i) names.push_back(this->network + "-web" + std::to_string(i));
}

News ServiceTeam::news(const std::vector<bool>& serving, bool withService) const {
  auto service = network + "-web";
  News told{{{network, vni}}, {{network, network + "-client", network + "-client", CLIENT, 0}}};
  for (size_t i = 0; i < names.size(); ++i) {
    told.peers.push_back({network, names[i], service, addressOf(i), hostOf(i), serving[i]});
  }
  if (withService) told.services.push_back({network, service, VIP});
  return told;
}

void ServiceTeam::join() {
  plug(subject, 0, network, network + "-client", CLIENT);
  for (size_t i = 0; i < names.size(); ++i) {
    plug(subject, hostOf(i), network, names[i], addressOf(i));
    tcp.push_back(testing::serverIn(serverPath(i), TCP_PORT, false, subject.ipv6));
    udp.push_back(testing::serverIn(serverPath(i), UDP_PORT, true, subject.ipv6));
  }
}

std::vector<int> ServiceTeam::handlesOf(const std::vector<kj::AutoCloseFd>& sockets) {
  std::vector<int> handles;
  for (auto& socket : sockets) handles.push_back(socket.get());
  return handles;
}

// Made some at a time: to enter a namespace takes a thread.
void ServiceTeam::withSockets(int count, bool udp, kj::FunctionParam<bool(int, int)> use) {
  constexpr int AT_A_TIME = 200;
  auto path = clientPath();
  for (int done = 0; done < count;) {
    std::vector<kj::AutoCloseFd> some(std::min(AT_A_TIME, count - done));
    testing::insideOf(path, [&] {
      for (auto& socket : some) socket = testing::socketIn("", udp, subject.ipv6);
    });
    for (auto& socket : some) {
      if (!use(socket, done++)) return;
    }
  }
}

std::vector<int> ServiceTeam::connectMany(int count) {
  std::vector<int> got(names.size() + 1);
  withSockets(count, false, [&](int socket, int) {
    int error = testing::connectTo(socket, vip(), TCP_PORT);
    int turn = error == 0 ? testing::readyOf(listening()) : -1;
    bool good = turn >= 0 && testing::acceptFrom(tcp[turn]).address == seenFrom();
    ++got[good ? turn : names.size()];
    return good;
  });
  return got;
}

std::vector<int> ServiceTeam::askMany(int count) {
  constexpr uint16_t FIRST_PORT = 10'000;
  std::vector<int> got(names.size() + 1);
  withSockets(count, true, [&](int socket, int index) {
    testing::bindTo(socket, FIRST_PORT + index);
    testing::connectTo(socket, vip(), UDP_PORT);
    auto asked = testing::askUdp(socket, answering());
    bool good = asked.server >= 0 && asked.address == seenFrom();
    ++got[good ? asked.server : names.size()];
    return good;
  });
  return got;
}

}  // namespace orch::conformance
