// What the kernel has per task: a namespace and a pair of devices. Blocking: for worker threads, in
// the node's network namespace. Everything may be repeated.
#pragma once

#include <string>
#include <vector>

#include "layout.h"
#include "lib/netns.h"
#include "record.h"

namespace orch::network::bridge {

// Record, namespace, devices, address and route, and then the pin: a namespace that is pinned has
// all of that. About a millisecond. On failure nothing is left.
void wire(const Layout& layout, const TaskRecord& record, const Step& step = nullptr);
// Takes all of that away, the record last. The devices go with the namespace, which the kernel ends
// after the answer (half a millisecond, many at once), when no process is in it any more,
// nor a connection whose last words were not heard. The address is 0 if nobody knows it.
void unwire(const Layout& layout, const std::string& taskId, Ipv4 address,
            const Step& step = nullptr);

// What of tasks is there, whoever's they are.
struct Survey {
  std::vector<std::string> pins;     // of tasks whose namespace is there
  std::vector<std::string> strays;   // of tasks of which there is a file and no namespace
  std::vector<std::string> devices;  // with our prefix
  std::vector<std::string> ports;    // those of them that belong to the bridge
  std::vector<Ipv4> neighbours;      // on the bridge, for good
};
Survey survey(const Layout& layout);
// The tasks' ports of the bridge.
std::vector<std::string> portsOf(const Layout& layout);
void forgetNeighbours(const Layout& layout, const std::vector<Ipv4>& addresses);
// Makes the tasks' devices ports of the bridge again, if somebody took it away meanwhile, and gives
// them the MTU of the settings.
void reconnect(const Layout& layout, const std::vector<TaskRecord>& records);
// In one go, about 40 ms however many they are. Gone is success.
void removeDevices(const std::vector<std::string>& devices);

// In a task's namespace.
constexpr kj::StringPtr WITHOUT_IPV6 = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"_kj;
// What of a task is of IPv6, if there is any; not if somebody has switched that off for it.
void wireIpv6(const Layout& layout, const TaskRecord& record, uint32_t bridge);

// Brings the tables to what they should be, each in one transaction that no connection notices.
void writeTable(const Layout& layout);
// The same if somebody has flushed it or taken it away: true, then.
bool mendTable(const Layout& layout);

}  // namespace orch::network::bridge
