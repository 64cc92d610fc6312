// Who has which image. Not stored: nodes say it themselves (session/image-offers.h), and a journal
// does for the past (journal/replay.h).
#pragma once

#include <cstdint>
#include <set>
#include <string>

namespace orch::control::manager {

class ImageHolders {
 public:
  // Ids of nodes that have the image of that digest.
  virtual const std::set<std::string>& nodesWith(const std::string& digest) const = 0;
  // Another number when these are others than before; 0 if there are none.
  virtual uint64_t versionOf(const std::string& digest) const = 0;
};

}  // namespace orch::control::manager
