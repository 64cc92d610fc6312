// What every driver of networks that span hosts has to keep (LegDriver in
// sdk/schema/network.capnp), as checks that know only the interface: legs, and the virtual
// addresses of services. They need root: they make sockets in the namespaces of tasks.
#pragma once

#include <kj/async.h>
#include <kj/common.h>
#include <kj/function.h>
#include <kj/io.h>

#include <string>
#include <utility>
#include <vector>

#include "orch/schema/network.capnp.h"

namespace orch::conformance {

// What a host is told. All networks have 10.0.1.0/24 with the gateway 10.0.1.1, and maybe
// fd00:1::/64. Addresses are given as of IPv4; the other ones are their twins.
struct Net {
  std::string id;
  uint32_t vni;
  std::string mtu = "";  // empty: the driver's own
  bool encrypted = false;
};
struct Mate {
  std::string network;
  std::string taskId;
  std::string service;
  std::string address;
  int host;
  bool serving = true;
};
struct Vip {
  std::string network;
  std::string service;
  std::string address;
  schema::EndpointSpec::Algorithm algorithm = schema::EndpointSpec::Algorithm::RR;
  uint64_t persistenceMs = 0;
};
struct News {
  std::vector<Net> networks;
  std::vector<Mate> peers = {};
  std::vector<Vip> services = {};
  bool complete = true;
  std::vector<Mate> gonePeers = {};
  std::vector<std::string> goneNetworks = {};
};

// Two hosts, 0 and 1, that reach each other, each with a run of the plugin that was told nothing;
// made anew for each check. Tasks belong to none of them: the checks say where they have legs.
class LegSubject {
 public:
  // With `ipv6` networks have that, and tasks reach each other by it.
  explicit LegSubject(bool ipv6 = false) : ipv6(ipv6) {}
  virtual ~LegSubject() noexcept(false) {}
  const bool ipv6;
  // The address that is used: `10.0.1.11`, or its twin.
  std::string used(const std::string& address) const;
  virtual kj::WaitScope& waitScope() = 0;
  virtual kj::StringPtr driverName() = 0;  // of the networks
  // Of the run that there is on the host.
  virtual schema::LegDriver::Client driver(int host) = 0;
  // Ends the run without anything else, and begins another: configure, recover, start.
  virtual void crash(int host) = 0;
  virtual void run(int host) = 0;
  // Whether `crash` is a real one: what is under way has no end, and does not go on either.
  virtual bool crashesMidway() { return false; }
  // The id of host `host` as `asSeenBy` is told it, and the address that others reach it at.
  virtual std::string nodeId(int host, int asSeenBy) = 0;
  virtual std::string hostAddress(int host) = 0;
  // Its public key, as others are told it; empty: there are no encrypted networks.
  virtual std::string nodeKey(int /*host*/) { return {}; }
  // The path of the task's namespace, which is made, with lo up, when it is asked for first.
  virtual std::string namespaceOf(const std::string& taskId) = 0;
  virtual void endNamespace(const std::string& taskId) = 0;
  // Returns when the host has something of each of these legs, `network task`, and nothing of any
  // other; waits for what the system does by itself a little later. Fails, and says what it is, if
  // something else stays.
  virtual void untilOnly(int host, const std::vector<std::string>& legs) = 0;
};

struct LegCheck {
  const char* name;  // a sentence
  void (*run)(LegSubject& subject);
};

// Each needs a subject of its own and throws an exception that says what was not kept.
kj::ArrayPtr<const LegCheck> legChecks();
// Of virtual addresses, whatever balances them.
kj::ArrayPtr<const LegCheck> balancingChecks();

// ---- for further tests of a driver ------------------------------------------------------------

using PlugCall = capnp::Request<schema::LegDriver::PlugParams, schema::LegDriver::PlugResults>;
PlugCall plugCall(LegSubject& subject, int host, const std::string& network,
                  const std::string& taskId, const std::string& address,
                  const std::string& device = "eth1");
void plug(LegSubject& subject, int host, const std::string& network, const std::string& taskId,
          const std::string& address, const std::string& device = "eth1");
kj::Promise<void> unplugLater(LegSubject& subject, int host, const std::string& network,
                              const std::string& taskId);
void retain(LegSubject& subject, int host, const std::vector<std::string>& taskIds);
void tell(LegSubject& subject, int host, const News& news);
void tellAll(LegSubject& subject, const News& news);

// A client on host 0 and servers of one service on both hosts in turn, in some network: the first
// one on host 0. TCP port 80 and UDP port 53.
class ServiceTeam final {
 public:
  static constexpr const char* VIP = "10.0.1.2";
  static constexpr const char* CLIENT = "10.0.1.10";
  static std::string addressOf(int server) { return "10.0.1.2" + std::to_string(server); }
  // These as they are used.
  std::string vip() const { return subject.used(VIP); }
  std::string seenFrom() const { return subject.used(CLIENT); }

  ServiceTeam(LegSubject& subject, std::string network, uint32_t vni, int count);
  // Of the network and all in it. The service has the network's name before its own.
  News news(const std::vector<bool>& serving, bool withService = true) const;
  News everybody() const { return news(std::vector<bool>(names.size(), true)); }
  // Plugs them and has the servers listen. After the first news.
  void join();

  std::string clientPath() const { return subject.namespaceOf(network + "-client"); }
  std::string serverPath(int server) const { return subject.namespaceOf(names[server]); }
  const std::string& serverId(int server) const { return names[server]; }
  int hostOf(int server) const { return server % 2; }
  std::vector<int> listening() const { return handlesOf(tcp); }
  std::vector<int> answering() const { return handlesOf(udp); }

  // How many of so many new connections each got; the last: one that did not get anywhere, or was
  // seen to come from somebody else than the client, and behind which there are no more.
  std::vector<int> connectMany(int count);
  // The same for UDP, each time from a port that was not used before.
  std::vector<int> askMany(int count);

 private:
  static std::vector<int> handlesOf(const std::vector<kj::AutoCloseFd>& sockets);
  // Sockets of the client, `use`d one by one until it says that it is enough.
  void withSockets(int count, bool udp, kj::FunctionParam<bool(int, int)> use);

  LegSubject& subject;
  const std::string network;
  const uint32_t vni;
  std::vector<std::string> names;
  std::vector<kj::AutoCloseFd> tcp;
  std::vector<kj::AutoCloseFd> udp;
};

}  // namespace orch::conformance
