// Which images run on this node: names of systems and processors as tools write them, and levels of
// processors. Pure, but for `thisLevel`. The rules are containerd's (platforms/compare.go), with
// the node's own architecture only: an amd64 node takes no image for 386.
#pragma once

#include <optional>
#include <string>

namespace orch::image::oci {

struct Platform {
  std::string os;            // empty: not said
  std::string architecture;  // as Go calls it, `amd64`; empty: not said
  std::string variant;       // `v3`; empty: what the architecture has at least
  std::string text() const;  // linux/amd64/v3
};

// With one name for each thing: `x86_64` is amd64, `armhf` is arm of level 7.
Platform normalized(Platform platform);

struct Node {
  std::string architecture;  // as Go calls it
  unsigned level = 0;        // the highest variant that its processor has
  std::string text() const;
};
// Of the processor that this runs on.
unsigned thisLevel(const std::string& architecture);

// How well an image for `platform`, which is normalized, suits the node: the higher the better.
// Nothing if it does not run there. What is not said is taken to suit.
std::optional<unsigned> suitability(const Platform& platform, const Node& node);

}  // namespace orch::image::oci
