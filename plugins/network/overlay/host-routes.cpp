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
constexpr Ipv6 LOOPBACK6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
constexpr Ipv6Subnet LINK_RANGE6{{0xfe, 0x80}, 10};
constexpr kj::Duration LOOK_PAUSE = 1 * kj::SECONDS;
constexpr kj::Duration LONGEST_LOOK_PAUSE = 1 * kj::MINUTES;
// A host with all routes of the internet takes a second to read them: so much longer is the pause.
constexpr int64_t LOOK_SHARE = 20;

// network.bridge and network.ingress name their devices so.
bool isOfOrch(const Link& link) { return link.alias.rfind("orch network.", 0) == 0; }
}  // namespace

namespace {
template <typename Subnet>
std::vector<Subnet> widestOf(std::vector<Subnet> all) {
  // A wider one comes before those that are within it.
  auto key = [](auto& subnet) { return std::make_pair(subnet.network, subnet.prefix); };
  std::sort(all.begin(), all.end(), [&](auto& a, auto& b) { return key(a) < key(b); });
  std::vector<Subnet> kept;
  for (auto& subnet : all) {
    bool within = !kept.empty() && kept.back().contains(subnet.network);
    if (!within) kept.push_back(subnet);
  }
  if (kept.size() <= MOST_ROUTES) return kept;
  std::stable_sort(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.prefix < b.prefix; });
  kept.resize(MOST_ROUTES);
  std::sort(kept.begin(), kept.end(), [&](auto& a, auto& b) { return key(a) < key(b); });
  return kept;
}

bool isForNetworks(const Ipv4Subnet& subnet) { return !LOOPBACK_RANGE.contains(subnet.network); }
bool isForNetworks(const Ipv6Subnet& subnet) {
  bool loopback = subnet == Ipv6Subnet{LOOPBACK6, 128};
  return !loopback && !LINK_RANGE6.contains(subnet.network);
}
}  // namespace

HostRoutes hostRoutes() {
  Rtnetlink net;
  std::set<uint32_t> own;
  for (auto& link : net.links()) {
    if (isOfOrch(link)) own.insert(link.index);
  }
  HostRoutes all;
  auto take = [&](auto& list, uint32_t link, const auto& subnet) {
    if (own.count(link) == 0 && isForNetworks(subnet)) list.push_back(subnet);
  };
  for (auto& route : net.routes()) {
    if (route.leads) take(all.ipv4, route.link, route.to);
  }
  for (auto& route : net.routes6()) {
    if (route.leads) take(all.ipv6, route.link, route.to);
  }
  for (auto& [link, address, prefix] : net.addresses()) {
    if (prefix > 0) take(all.ipv4, link, Ipv4Subnet::around(address, prefix));
  }
  for (auto& [link, address, prefix] : net.addresses6()) {
    if (prefix > 0) take(all.ipv6, link, Ipv6Subnet::around(address, prefix));
  }
  return {widestOf(std::move(all.ipv4)), widestOf(std::move(all.ipv6))};
}

Task<HostRoutes> RouteWatch::ask() {
  auto reading = env.workers().run([] { return hostRoutes(); });
  auto routes = co_await reading;
  said = routes;
  told = true;
  co_return kj::mv(routes);
}

Task<void> RouteWatch::watch() {
  // A socket hears of the network namespace that it was opened in: the host's.
  auto opening = env.workers().run([] {
    return kj::heap<NetlinkSocket>(NETLINK_ROUTE, RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_IFADDR |
                                                      RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_IFADDR);
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
