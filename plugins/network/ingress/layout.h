// What the settings come to: names and numbers that every other part works with. Plain values,
// copied to worker threads.
#pragma once

#include <optional>
#include <string>

#include "config.capnp.h"
#include "lib/ipv4.h"
#include "orch/host.h"

namespace orch::network::ingress {

struct Layout {
  std::string table;
  std::string device;           // of the mesh
  std::optional<Ipv4> address;  // of this node for the others, as set; else the managers name it
  uint16_t dataPort = 0;
  bool ipv6 = false;   // the host has it
  std::string folder;  // the records are in it

  // One file per task that publishes, written before the kernel leads anything to it.
  std::string records() const { return folder + "/published"; }
  // What was told of the mesh: of this node, and one file per other node.
  std::string mesh() const { return folder + "/mesh"; }
  std::string others() const { return folder + "/others"; }
};

// Fails with a text that names the setting if one cannot be used.
Layout layoutOf(Config::Reader settings, const NodeFacts& node);

}  // namespace orch::network::ingress
