// What the settings come to: names and addresses that every other part works with. Plain values,
// copied to worker threads.
#pragma once

#include <optional>
#include <string>

#include "config.capnp.h"
#include "lib/ipv6.h"
#include "orch/host.h"

namespace orch::network::bridge {

struct Layout {
  std::string network;  // what users call it: `bridge`
  std::string bridge;   // the device
  std::string table;
  Ipv4Subnet subnet;
  Ipv4 gateway = 0;
  // Of IPv6; nothing: there is none.
  std::optional<Ipv6Twins> twins;
  Ipv6 gateway6() const { return twins->of(gateway); }
  uint32_t mtu = 0;
  std::string folder;  // records() and pins() are in it

  // One file per task, written before anything else of the task exists and removed last.
  std::string records() const { return folder + "/tasks"; }
  // One file per task, on which its namespace is mounted.
  std::string pins() const { return folder + "/netns"; }
  std::string recordOf(const std::string& taskId) const { return records() + "/" + taskId; }
  std::string pinOf(const std::string& taskId) const { return pins() + "/" + taskId; }
  // The host end of the task's pair: `oh` and a hash of 13 characters over bridge and task.
  std::string deviceOf(const std::string& taskId) const;
};
// What deviceOf() begins with.
constexpr const char* DEVICE_PREFIX = "oh";

// Fails with a text that names the setting if one cannot be used.
Layout layoutOf(Config::Reader settings, const NodeFacts& node);

}  // namespace orch::network::bridge
