// Which nodes have which images for others, as they say themselves. In memory alone: each node
// tells it anew in its next session. Plain values, no I/O.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "orch/schema/agent.capnp.h"
#include "state/image-holders.h"

namespace orch::control::manager {

class ImageOffers final : public ImageHolders {
 public:
  static constexpr size_t MAX_IMAGES = 1'000;     // of one node
  static constexpr size_t MAX_BYTES = 4'000'000;  // of what one node says of them

  // All that the node offers; replaces what it did before. Fails past the limits, and for a digest
  // that is none.
  void set(const std::string& nodeId, capnp::List<schema::OfferedImage>::Reader images);
  void withdraw(const std::string& nodeId);

  // Nodes that offer the image.
  const std::set<std::string>& nodesWith(const std::string& digest) const override;
  uint64_t versionOf(const std::string& digest) const override;
  // Digests that a name stands for where it was imported, and the nodes that say so.
  std::map<std::string, std::set<std::string>> imported(const std::string& name) const;

 private:
  using Nodes = std::set<std::string>;
  struct Offer {
    std::string digest;
    std::vector<std::string> names;
  };
  struct Holders {
    Nodes nodes;
    uint64_t version = 0;
  };
  void forget(const std::string& nodeId);
  void noteChanges(const std::string& nodeId, const std::set<std::string>& before);
  std::set<std::string> digestsOf(const std::string& nodeId) const;

  std::map<std::string, std::vector<Offer>> byNode;
  std::map<std::string, Holders> byDigest;
  uint64_t changes = 0;
  const Nodes nobody{};
  std::map<std::string, std::map<std::string, Nodes>> byName;  // then by digest
};

}  // namespace orch::control::manager
