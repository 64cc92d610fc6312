// What this host reaches, or has, by itself: subnets that no network of the cluster may have, or
// its tasks would find themselves there instead.
#pragma once

#include <kj/function.h>
#include <kj/memory.h>

#include <vector>

#include "lib/ipv6.h"
#include "lib/netlink.h"
#include "orch/env.h"
#include "orch/task.h"

namespace orch::network::overlay {

// As many of each kind are told of; of a host that has more, the widest ones.
constexpr size_t MOST_ROUTES = 256;

struct HostRoutes {
  std::vector<Ipv4Subnet> ipv4;
  std::vector<Ipv6Subnet> ipv6;
  bool operator==(const HostRoutes&) const = default;
};

// Routes of the main table and addresses, without the default route, without what leads nowhere
// (blackhole), loopback, a link's own (fe80::/10), and devices that orch made. None is within
// another one; by address. Blocks.
HostRoutes hostRoutes();

// Looks again when the kernel says that something has changed, and tells who asked if it is not
// what was said: at most once a second, and once a minute on a host that does not settle. On the
// loop's thread.
class RouteWatch final {
 public:
  RouteWatch(Env& env, kj::Function<void()> changed) : env(env), changed(kj::mv(changed)) {}
  KJ_DISALLOW_COPY(RouteWatch);

  // Ends only when it is dropped, or by an error.
  Task<void> watch();
  Task<HostRoutes> ask();

 private:
  // Whether something had changed that matters.
  Task<bool> look();

  Env& env;
  kj::Function<void()> changed;
  kj::Own<NetlinkSocket> events;
  bool told = false;
  HostRoutes said;  // to who asked last
};

}  // namespace orch::network::overlay
