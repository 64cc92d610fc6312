// Who a network device or an nftables table belongs to: one plugin of one orchd per network
// namespace, whatever folders it has. A claim is an abstract Unix socket, which the kernel keeps
// per network namespace and takes away with its owner (`ss -xl` shows it).
#pragma once

#include <kj/io.h>
#include <kj/string.h>

#include <string>
#include <vector>

namespace orch::network {

class Claims final {
 public:
  // In the calling thread's network namespace. If somebody else has it: "the bridge 'orch0'", and
  // all that was taken before is let go of.
  kj::Maybe<kj::String> take(kj::StringPtr what, const std::string& name);
  void release() { sockets.clear(); }
  bool held() const { return !sockets.empty(); }

 private:
  std::vector<kj::AutoCloseFd> sockets;
};

}  // namespace orch::network
