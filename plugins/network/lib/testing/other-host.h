// A host beside a test's node.
#pragma once

#include <kj/string.h>

#include <string>

namespace orch::network {

// A network namespace on a wire of its own: the node, which is where the test's thread is, is
// 192.168.50.10, the other host 192.168.50.100.
class OtherHost final {
 public:
  // Its namespace is pinned in this folder.
  explicit OtherHost(kj::StringPtr folder);
  ~OtherHost() noexcept(false);
  KJ_DISALLOW_COPY(OtherHost);
  const std::string& path() const { return pin; }

 private:
  std::string pin;
};

constexpr const char* NODE_ADDRESS = "192.168.50.10";
constexpr const char* OTHER_ADDRESS = "192.168.50.100";
constexpr const char* NODE_ADDRESS6 = "fd50::10";
constexpr const char* OTHER_ADDRESS6 = "fd50::100";

}  // namespace orch::network
