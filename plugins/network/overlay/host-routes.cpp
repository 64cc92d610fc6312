#include "host-routes.h"

#include <kj/async-unix.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lib/rtnetlink.h"

namespace orch::network::overlay {

namespace {
constexpr Ipv4Subnet LOOPBACK_RANGE{0x7f000000, 8};
constexpr kj::Duration LOOK_PAUSE = 1 * kj::SECONDS;
constexpr kj::Duration LONGEST_LOOK_PAUSE = 1 * kj::MINUTES;
// A host with all routes of the internet takes a second to read them: so much longer is the pause.
constexpr int64_t LOOK_SHARE = 20;

// network.bridge and network.ingress name their devices so.
bool isOfOrch(const Link& link) { return link.alias.rfind("orch network.", 0) == 0; }
}  // namespace

std::vector<Ipv4Subnet> hostRoutes() {
  Rtnetlink net;
  std::set<uint32_t> own;
  for (auto& link : net.links()) {
    if (isOfOrch(link)) own.insert(link.index);
  }
  std::vector<Ipv4Subnet> all;
  for (auto& route : net.routes()) {
    if (route.leads && own.count(route.link) == 0) all.push_back(route.to);
  }
  for (auto& address : net.addresses()) {
    if (own.count(address.link) > 0 || address.prefix == 0) continue;
    Ipv4Subnet subnet{0, address.prefix};
    subnet.network = address.address & subnet.mask();
    all.push_back(subnet);
  }
  // A wider one comes before those that are within it.
  auto key = [](auto& subnet) { return std::make_pair(subnet.network, subnet.prefix); };
  std::sort(all.begin(), all.end(), [&](auto& a, auto& b) { return key(a) < key(b); });
  std::vector<Ipv4Subnet> kept;
  for (auto& subnet : all) {
    bool within = !kept.empty() && kept.back().contains(subnet.network);
    if (!within && !LOOPBACK_RANGE.contains(subnet.network)) kept.push_back(subnet);
  }
  if (kept.size() <= MOST_ROUTES) return kept;
  std::stable_sort(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.prefix < b.prefix; });
  kept.resize(MOST_ROUTES);
  std::sort(kept.begin(), kept.end(), [&](auto& a, auto& b) { return key(a) < key(b); });
  return kept;
}

Task<std::vector<Ipv4Subnet>> RouteWatch::ask() {
  auto reading = env.workers().run([] { return hostRoutes(); });
  auto routes = co_await reading;
  said = routes;
  told = true;
  co_return kj::mv(routes);
}

Task<void> RouteWatch::watch() {
  // A socket hears of the network namespace that it was opened in: the host's.
  auto opening = env.workers().run([] {
    return kj::heap<NetlinkSocket>(NETLINK_ROUTE, RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_IFADDR);
  });
  events = co_await opening;
  kj::UnixEventPort::FdObserver observer(env.eventPort(), events->fd(),
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  auto pause = LOOK_PAUSE;
  auto last = env.timer().now();
  bool unheard = true;  // what has changed before the socket was open
  for (;;) {
    bool any = std::exchange(unheard, false);
    while (events->waitForEvent(0)) any = true;
    if (!any) {
      co_await observer.whenBecomesReadable();
      continue;
    }
    auto begun = env.timer().now();
    if (begun - last > 2 * pause) pause = LOOK_PAUSE;
    last = begun;
    bool matters = co_await look();
    if (matters) pause = kj::min(2 * pause, LONGEST_LOOK_PAUSE);
    co_await env.timer().afterDelay(kj::max(pause, (env.timer().now() - begun) * LOOK_SHARE));
  }
}

Task<bool> RouteWatch::look() {
  if (!told) co_return false;  // whoever asks later is told what is then
  auto reading = env.workers().run([] { return hostRoutes(); });
  auto routes = co_await reading;
  if (routes == said) co_return false;
  said = kj::mv(routes);
  changed();
  co_return true;
}

}  // namespace orch::network::overlay
