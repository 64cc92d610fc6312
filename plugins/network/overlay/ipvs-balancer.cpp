#include "ipvs-balancer.h"

#include <netinet/in.h>

#include <algorithm>

#include "ipvs-rules.h"
#include "lib/kernel-switch.h"
#include "lib/nft-batch.h"
#include "nft-rules.h"
#include "orch/attempt.h"

namespace orch::network::overlay {

namespace {
constexpr uint8_t PROTOCOLS[] = {IPPROTO_TCP, IPPROTO_UDP};
// Without it what clients send to a task that is gone vanishes. With it UDP goes to another task,
// and TCP, which does not begin with such a packet, is refused by the namespace.
constexpr kj::StringPtr EXPIRE = "/proc/sys/net/ipv4/vs/expire_nodest_conn"_kj;
// Without it clients that stay are led to a task that takes no new connections.
constexpr kj::StringPtr EXPIRE_STAYS = "/proc/sys/net/ipv4/vs/expire_quiescent_template"_kj;
// As of tracked connections (nf_conntrack_tcp_timeout_established); IPVS's own is 15 minutes.
constexpr uint32_t TCP_IDLE_SECONDS = 5 * 24 * 60 * 60;
}  // namespace

IpvsBalancer::IpvsBalancer(const AddressKind& kind)
    : kind(kind), ipvs(kind), netfilter(NETLINK_NETFILTER), answered(kind) {
  switchOn(EXPIRE);
  switchOn(EXPIRE_STAYS);
  ipvs.setTcpIdleTime(TCP_IDLE_SECONDS);
}

void IpvsBalancer::removeAll(const AddressKind& kind) {
  if (!Ipvs::isThere()) return;
  Ipvs(kind).removeServices();
  auto table = ipvsTableOf(kind);
  if (nftTableExists(table, IPVS_FAMILY)) NftBatch(table, IPVS_FAMILY).deleteTable().commit();
}

std::string IpvsBalancer::apply(const BalancerChange& change) {
  auto work = take(change);
  // It fails if somebody changed it under us.
  bool done = built && attemptNow([&] { settle(work); }).ok();
  if (!done) settleAll(kj::mv(work));
  return "";
}

IpvsBalancer::Work IpvsBalancer::take(const BalancerChange& change) {
  if (change.complete) {
    services.clear();
    locals.clear();
    built = false;
  }
  gateway = change.gateway;
  Work work;
  for (auto& [address, wanted] : change.services) {
    work.touched.insert(address);
    services.erase(address);
    if (wanted) services.emplace(address, *wanted);
  }
  for (auto& [local, there] : change.locals) {
    bool changed = there ? locals.insert(local).second : locals.erase(local) > 0;
    if (changed) work.newLocals[local] = there;
  }
  work.gone = change.gone;
  if (change.complete) work.there = change.there;
  return work;
}

void IpvsBalancer::settleAll(Work work) {
  built = false;
  answered.look();
  table = ipvs.table();
  for (auto& entry : services) work.touched.insert(entry.first);
  settle(work);
  built = true;
}

void IpvsBalancer::settle(const Work& work) {
  Plan plan;
  for (auto address : work.touched) {
    if (services.count(address) > 0) answered.add(address);
    for (auto protocol : PROTOCOLS) planService(plan, address, protocol);
  }
  if (!built) planStrays(plan);
  for (auto task : work.gone) planGone(plan, task);
  if (work.there) {
    for (auto task : goneBut(*work.there)) planGone(plan, task);
  }
  ipvs.run(plan.first);
  bool changed = commitRules(work);
  ipvs.run(plan.last);
  answered.keepOnly(services);
  if (changed || !plan.first.empty() || !plan.last.empty()) ++commits;
}

void IpvsBalancer::planService(Plan& plan, Ipv4 address, uint8_t protocol) {
  auto mark = markOf(address, protocol);
  auto wanted = services.find(address);
  bool known = table.count(mark) > 0;
  bool serving = wanted != services.end() && serves(wanted->second.backends);
  if (serving) {
    auto scheduling = schedulingOf(wanted->second);
    if (!ipvs.hasScheduler(scheduling.scheduler)) scheduling = inTurns(wanted->second);
    if (!known) {
      plan.first.push_back(ipvs.newService(mark, scheduling));
    } else if (table[mark].scheduling != scheduling) {
      plan.first.push_back(ipvs.setService(mark, scheduling));
    }
    table[mark].scheduling = scheduling;
  } else if (!known) {
    return;
  }
  if (wanted != services.end()) {
    planDestinations(plan, mark, wanted->second.backends, protocol == IPPROTO_TCP);
    if (!table[mark].destinations.empty()) return;
  }
  plan.last.push_back(ipvs.deleteService(mark));
  table.erase(mark);
}

void IpvsBalancer::planDestinations(Plan& plan, uint32_t mark, const Backends& wanted, bool isTcp) {
  auto& destinations = table[mark].destinations;
  std::set<Ipv4> serving;
  for (auto& [address, weight] : wanted) {
    if (weight == 0) continue;
    serving.insert(address);
    auto [known, fresh] = destinations.try_emplace(address, IpvsDestination{weight, 0});
    if (fresh) plan.first.push_back(ipvs.newDestination(mark, address, weight));
    if (known->second.weight == weight) continue;
    plan.first.push_back(ipvs.setDestination(mark, address, weight));
    known->second.weight = weight;
  }
  for (auto at = destinations.begin(); at != destinations.end();) {
    auto& [address, destination] = *at;
    // What another run left is counted: it may be of a task that is long gone.
    bool idle = !built && destination.weight == 0 && destination.connections == 0;
    if (serving.count(address) > 0) {
      ++at;
    } else if (isTcp && !idle) {
      if (destination.weight != 0) plan.last.push_back(ipvs.setDestination(mark, address, 0));
      destination.weight = 0;
      ++at;
    } else {
      plan.last.push_back(ipvs.deleteDestination(mark, address));
      at = destinations.erase(at);
    }
  }
}

void IpvsBalancer::planGone(Plan& plan, Ipv4 task) {
  for (auto at = table.begin(); at != table.end();) {
    auto& [mark, service] = *at;
    if (service.destinations.erase(task) > 0) {
      plan.last.push_back(ipvs.deleteDestination(mark, task));
      if (service.destinations.empty()) {
        plan.last.push_back(ipvs.deleteService(mark));
        at = table.erase(at);
        continue;
      }
    }
    ++at;
  }
}

// Tasks that serve no more and are none of these: they went while nobody looked.
std::set<Ipv4> IpvsBalancer::goneBut(const std::set<Ipv4>& there) const {
  std::set<Ipv4> gone;
  for (auto& [mark, service] : table) {
    for (auto& [address, destination] : service.destinations) {
      if (destination.weight == 0 && there.count(address) == 0) gone.insert(address);
    }
  }
  return gone;
}

// Services of another run that nobody wants any more.
void IpvsBalancer::planStrays(Plan& plan) {
  std::set<uint32_t> ours;
  for (auto& entry : services) {
    for (auto protocol : PROTOCOLS) ours.insert(markOf(entry.first, protocol));
  }
  for (auto at = table.begin(); at != table.end();) {
    if (ours.count(at->first) > 0) {
      ++at;
      continue;
    }
    plan.last.push_back(ipvs.deleteService(at->first));
    at = table.erase(at);
  }
}

bool IpvsBalancer::commitRules(const Work& work) {
  auto name = ipvsTableOf(kind);
  NftBatch batch(name, IPVS_FAMILY);
  if (built) {
    for (auto address : work.touched) {
      auto wanted = services.find(address);
      bool serving = wanted != services.end() && serves(wanted->second.backends);
      if (serving != (marked.count(address) > 0)) buildMark(batch, kind, address, serving);
    }
    for (auto& [local, there] : work.newLocals) buildHairpin(batch, kind, local, there);
    if (batch.empty()) return false;
  }
  std::set<Ipv4> served;
  for (auto& [address, service] : services) {
    if (serves(service.backends)) served.insert(address);
  }
  if (built) {
    batch.commit(netfilter);
  } else {
    NftBatch whole(name, IPVS_FAMILY);
    buildIpvsTable(whole, kind, nftChains(netfilter, name, IPVS_FAMILY), gateway, served, locals);
    if (!attemptNow([&] { whole.commit(netfilter); }).ok()) {
      // Of another version.
      NftBatch anew(name, IPVS_FAMILY);
      anew.addTable().deleteTable();
      buildIpvsTable(anew, kind, {}, gateway, served, locals);
      anew.commit(netfilter);
    }
  }
  marked = std::move(served);
  return true;
}

}  // namespace orch::network::overlay
