// Sockets in network namespaces, and a namespace of the test's own, for tests of the plugins that
// connect these.
#pragma once

#include <kj/io.h>

#include "orch/testing/sockets.h"

namespace orch::network {

using testing::Accepted;
using testing::acceptFrom;
using testing::Asked;
using testing::askUdp;
using testing::connectTo;
using testing::PATIENCE_MS;
using testing::reaches;
using testing::readyOf;
using testing::serverIn;
using testing::socketAddressOf;
using testing::socketIn;
using testing::talk;

// While it lives, the test's thread is in a network namespace with nothing but lo.
class OwnNetwork final {
 public:
  OwnNetwork();
  ~OwnNetwork() noexcept(false);
  KJ_DISALLOW_COPY(OwnNetwork);

 private:
  kj::AutoCloseFd before;
};

}  // namespace orch::network
