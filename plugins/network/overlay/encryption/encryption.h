// Encrypted networks on one host: whether it can be on any, the key that the others know it by, and
// the tunnel, which is there while a task is on one. Made by the kernel where it has WireGuard,
// else by wireguard-go, which goes on while orchd is away and is taken over by the next.
#pragma once

#include <kj/function.h>

#include <optional>
#include <string>

#include "encryption/tunnel.h"
#include "layout.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/semaphore.h"
#include "orch/task.h"

namespace orch::network::overlay {

// What the networks of the host ask of its tunnel.
struct TunnelWish {
  enum class Kind : uint8_t {
    NONE,
    KEEP,  // nobody has said yet of all networks what they are
    SOME
  };
  Kind kind = Kind::NONE;
  WireguardPeers peers;
  uint32_t mtu = 0;  // of the largest packets of a network
};

// On the loop's thread.
class Encryption final : private kj::TaskSet::ErrorHandler {
 public:
  // `wish` is asked whenever the tunnel is looked at.
  Encryption(Env& env, Log& log, const Layout& layout, kj::Function<TunnelWish()> wish)
      : env(env), log(log), layout(layout), wish(kj::mv(wish)), turns(1), tasks(*this) {}
  KJ_DISALLOW_COPY(Encryption);

  // Reads the key, and looks whether this host can have a tunnel; if not, `problem` says why. Again
  // if it could not.
  Task<void> look();
  kj::StringPtr problem() const { return why; }
  // Empty if there is a problem.
  kj::String publicKey() const;
  // This host's own in the tunnel; not known if there is a problem.
  HostAddress address() const;

  // Settles when the tunnel is as it is wished then. Fails, saying why, if it cannot be.
  Task<void> settle();
  // Somebody may have changed it.
  void doubt() { settled.reset(); }
  // As it is to be; nothing if there is to be none.
  std::optional<TunnelFacts> wanted();

 private:
  void taskFailed(kj::Exception&& exception) override;
  Task<void> ensure(const TunnelFacts& facts);
  Task<void> startUser();
  // Makes it again when wireguard-go has ended.
  Task<void> watchUser();
  Task<void> remake();

  Env& env;
  Log& log;
  const Layout& layout;
  kj::Function<TunnelWish()> wish;
  std::optional<Key> key;  // private
  kj::String why = kj::str("nobody has looked yet");
  bool byKernel = false;
  bool mayBeThere = true;              // of an earlier run
  std::optional<TunnelFacts> settled;  // what the kernel has, as far as anybody knows
  Semaphore turns;
  kj::Promise<void> watching = nullptr;
  bool watched = false;
  kj::TaskSet tasks;  // last
};

}  // namespace orch::network::overlay
