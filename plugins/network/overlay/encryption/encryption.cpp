#include "encryption/encryption.h"

#include <kj/debug.h>
#include <unistd.h>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::network::overlay {

namespace {
constexpr kj::StringPtr TUN = "/dev/net/tun"_kj;
constexpr kj::StringPtr IPV6 = "/proc/sys/net/ipv6"_kj;
// It is ready when its first process ends, after some milliseconds.
constexpr kj::Duration START_LIMIT = 30 * kj::SECONDS;
constexpr kj::Duration FIRST_PAUSE = 100 * kj::MILLISECONDS;
constexpr kj::Duration LONGEST_PAUSE = 30 * kj::SECONDS;

struct HostAbilities {
  bool kernel = false, ipv6 = false, tun = false;
};
HostAbilities hostAbilities() {
  return {kernelHasWireguard(), access(IPV6.cStr(), F_OK) == 0, access(TUN.cStr(), F_OK) == 0};
}

ProcessSpec userSpec(const Layout& layout, kj::StringPtr argument) {
  ProcessSpec spec;
  spec.argv.add(kj::str(layout.wireguardGo.c_str()));
  spec.argv.add(kj::str(argument));
  spec.env.add(kj::str("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  spec.newSession = true;  // what ends orchd's group leaves it
  return spec;
}
}  // namespace

void Encryption::taskFailed(kj::Exception&& exception) {
  log.error("network.internal", {{"reason", plainText(exception)}});
}

kj::String Encryption::publicKey() const {
  return why.size() == 0 ? keyText(publicKeyOf(*key)) : kj::str();
}

HostAddress Encryption::address() const {
  return why.size() == 0 ? tunnelAddressOf(publicKeyOf(*key)) : HostAddress();
}

Task<void> Encryption::look() {
  if (why.size() == 0) co_return;
  auto looking = env.workers().run([] { return hostAbilities(); });
  auto abilities = co_await looking;
  if (!abilities.ipv6) {
    why = kj::str("this kernel has no IPv6 (`ipv6.disable=1`), which is what a tunnel has inside");
    co_return;
  }
  if (!abilities.kernel) {
    auto asking =
        env.timer().timeoutAfter(START_LIMIT, env.command(userSpec(layout, "--version")).promise());
    auto asked = co_await attempt(kj::mv(asking));
    if (!asked.ok() || asked.value().status != 0) {
      why = kj::str("this kernel has no WireGuard (`modprobe wireguard`), and there is no '",
                    layout.wireguardGo.c_str(), "'");
      co_return;
    }
    if (!abilities.tun) {
      why = kj::str("this kernel has no WireGuard (`modprobe wireguard`), and wireguard-go needs ",
                    TUN, ", which is not there (`modprobe tun`)");
      co_return;
    }
  }
  auto reading = env.workers().run([path = layout.keyFile()] { return keptKey(path); });
  auto read = co_await attempt(kj::mv(reading));
  if (!read.ok()) {
    why = kj::str(read.message());
    co_return;
  }
  key = read.value();
  byKernel = abilities.kernel;
  why = kj::str();
}

std::optional<TunnelFacts> Encryption::wanted() {
  auto wished = wish();
  if (wished.kind != TunnelWish::Kind::SOME || why.size() > 0) return std::nullopt;
  TunnelFacts facts;
  facts.device = layout.tunnel;
  facts.wireguard = {*key, layout.encryptionPort, kj::mv(wished.peers)};
  facts.wireguard.peers.erase(publicKeyOf(*key));
  facts.dataPort = layout.dataPort;
  facts.mtu = kj::max(LEAST_TUNNEL_MTU, wished.mtu + BYTES_IN_TUNNEL);
  return facts;
}

Task<void> Encryption::settle() {
  auto entering = turns.enter();
  auto turn = co_await entering;
  auto wished = wish();
  if (wished.kind == TunnelWish::Kind::KEEP) co_return;
  if (wished.kind == TunnelWish::Kind::NONE) {
    if (!mayBeThere) co_return;
    watching = nullptr;
    watched = false;
    settled.reset();
    auto removing = env.workers().run([device = layout.tunnel] { removeTunnel(device); });
    co_await removing;
    mayBeThere = false;
    co_return;
  }
  if (why.size() > 0) fail(kj::str("this host can be on no encrypted network: ", why));
  auto facts = *wanted();
  if (settled == facts) co_return;
  mayBeThere = true;
  co_await ensure(facts);
  settled = facts;
}

Task<void> Encryption::ensure(const TunnelFacts& facts) {
  auto looking = env.workers().run([device = facts.device] { return tunnelThere(device); });
  auto by = co_await looking;
  if (by == TunnelBy::NOBODY) {
    watching = nullptr;
    watched = false;
    if (byKernel) {
      auto making = env.workers().run([device = facts.device] { makeKernelTunnel(device); });
      co_await making;
    } else {
      co_await startUser();
      by = TunnelBy::USER;
    }
  }
  auto setting = env.workers().run([facts] { setTunnel(facts); });
  co_await setting;
  if (by != TunnelBy::USER || watched) co_return;
  watched = true;
  watching =
      watchUser().promise().eagerlyEvaluate([this](kj::Exception&& e) { taskFailed(kj::mv(e)); });
}

Task<void> Encryption::startUser() {
  auto starting = env.timer().timeoutAfter(
      START_LIMIT, env.command(userSpec(layout, layout.tunnel.c_str())).promise());
  auto started = co_await starting;
  if (started.status != 0) {
    fail(kj::str("wireguard-go cannot make the tunnel '", layout.tunnel.c_str(),
                 "': ", started.errors));
  }
  log.info("the tunnel of encrypted networks is made", {{"by", layout.wireguardGo.c_str()}});
}

Task<void> Encryption::watchUser() {
  // It answers whoever asks, and until somebody does, this ends only with it.
  auto path = kj::str("unix:", socketOf(layout.tunnel).c_str());
  auto parsing = env.network().parseAddress(path);
  auto address = co_await parsing;
  auto connected = co_await attempt(address->connect());
  if (connected.ok()) {
    char byte;
    auto ended = connected.value()->tryRead(&byte, 1, 1).ignoreResult();
    co_await attempt(kj::mv(ended));
  }
  log.warn("network.tunnel-lost, making it again", {{"device", layout.tunnel.c_str()}});
  tasks.add(remake());
}

// Not in the watch, which ends here: a new one begins with the new tunnel.
Task<void> Encryption::remake() {
  for (auto pause = FIRST_PAUSE;; pause = kj::min(2 * pause, LONGEST_PAUSE)) {
    co_await env.timer().afterDelay(pause);  // what ends takes its device with it
    watched = false;
    doubt();
    auto made = co_await attempt(settle());
    if (made.ok()) co_return;
    log.warn("network.tunnel-failed, trying again", {{"reason", made.message()}});
  }
}

}  // namespace orch::network::overlay
