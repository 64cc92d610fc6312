// The Unix socket of a node. Who may open it, by its file permissions, may do everything.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/io.h>

#include <string>

#include "orch/env.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::rpc {

// Serves `gateway` on <runDir>/orchd.sock (mode 0660) as long as it lives; removes the socket then.
// Refuses to start while another orchd holds <runDir>/orchd.lock, and names its pid.
class Listener final {
 public:
  Listener(Env& env, const std::string& runDir, schema::Gateway::Client gateway);
  ~Listener() noexcept(false);
  KJ_DISALLOW_COPY(Listener);

  // Ends only with an error.
  kj::Promise<void> serve();

 private:
  std::string socketPath;
  kj::AutoCloseFd lock;
  capnp::TwoPartyServer server;
  kj::Own<kj::ConnectionReceiver> receiver;
};

}  // namespace orch::rpc
