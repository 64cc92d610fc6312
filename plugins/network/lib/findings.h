// What a look at the kernel comes to: how many things were looked at, and which are not as they
// should be. Plain values, which worker threads make and the loop sends.
#pragma once

#include <kj/string.h>

#include <string>
#include <utility>
#include <vector>

#include "orch/schema/network.capnp.h"

namespace orch::network {

struct Finding {
  std::string network;   // id, or name; empty: published ports
  std::string object;    // as `forwarding entry of 10.0.1.5`
  std::string expected;  // empty: it should not be there
  std::string found;     // empty: it is not there
  bool repaired = false;
};

class Findings final {
 public:
  Findings() = default;
  explicit Findings(std::string network) : network(std::move(network)) {}

  // Looks at one thing; notes it if the texts differ.
  void compare(kj::StringPtr object, kj::StringPtr expected, kj::StringPtr found);
  void add(const Findings& others);
  // After a repair: what is not found any more is repaired.
  void repairedBut(const Findings& left);

  uint32_t things() const { return count; }
  bool empty() const { return list.empty(); }
  const std::vector<Finding>& all() const { return list; }
  void write(schema::NetworkChecker::CheckResults::Builder results) const;

 private:
  std::string network;
  uint32_t count = 0;
  std::vector<Finding> list;
};

}  // namespace orch::network
