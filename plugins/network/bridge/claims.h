// Who a bridge and a table belong to: one instance of this plugin per network namespace, whatever
// folders it has. A claim is an abstract Unix socket, which the kernel keeps per network namespace
// and takes away with its owner.
#pragma once

#include <kj/io.h>
#include <kj/string.h>

#include <vector>

#include "layout.h"

namespace orch::network::bridge {

class Claims final {
 public:
  // In the calling thread's network namespace. What somebody else has of the bridge and the table:
  // "the bridge 'orch0'"; nothing if both are ours now. On failure none of them is.
  kj::Maybe<kj::String> take(const Layout& layout);
  // One of them: "bridge" or "table", and its name.
  kj::Maybe<kj::String> take(kj::StringPtr what, const std::string& name);
  bool held() const { return !sockets.empty(); }

 private:
  std::vector<kj::AutoCloseFd> sockets;
};

}  // namespace orch::network::bridge
