// What a manager asks of a managed etcd, and the addresses that it names.
#include <arpa/inet.h>

#include "managed/managed-etcd.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::etcd {

namespace {

class Servers final : public schema::StoreServers::Server {
 public:
  explicit Servers(kj::Own<ManagedEtcd> of) : of(kj::mv(of)) {}

  kj::Promise<void> state(StateContext context) override {
    of->describe(context.getResults());
    return kj::READY_NOW;
  }
  kj::Promise<void> found(FoundContext context) override {
    auto host = context.getParams().getHost();
    return of->found(host.getNodeId().cStr(), hostOf(host));
  }
  kj::Promise<void> settle(SettleContext context) override {
    return of->settle(hostOf(context.getParams().getHost()));
  }
  kj::Promise<void> join(JoinContext context) override {
    auto params = context.getParams();
    auto invitation = kj::heapArray<kj::byte>(params.getInvitation());
    return of->join(params.getHost().getNodeId().cStr(), hostOf(params.getHost()),
                    kj::mv(invitation));
  }
  kj::Promise<void> leave(LeaveContext) override { return of->leave(); }
  kj::Promise<void> admit(AdmitContext context) override { return doAdmit(context); }
  kj::Promise<void> tend(TendContext context) override { return doTend(context); }

 private:
  // `[::1]` of `[::1]:2377`. Others connect there, so it is a number.
  static std::string hostOf(schema::StoreHost::Reader host) {
    std::string address = host.getAddress().cStr();
    auto colon = address.rfind(':');
    auto name = address.substr(0, colon);
    bool bracketed = name.size() > 2 && name.front() == '[' && name.back() == ']';
    auto bare = bracketed ? name.substr(1, name.size() - 2) : name;
    in6_addr parsed;
    bool number = colon != std::string::npos &&
                  inet_pton(bracketed ? AF_INET6 : AF_INET, bare.c_str(), &parsed) == 1;
    if (!number) {
      fail(kj::str(
          "an etcd cannot be at '", address.c_str(),
          "'; a node with one needs an address with numbers: 'orch init --advertise-addr'"));
    }
    return name;
  }
  Task<void> doAdmit(AdmitContext context) {
    auto params = context.getParams();
    auto invitation = co_await of->admit(params.getEpoch(), params.getHost().getNodeId().cStr(),
                                         hostOf(params.getHost()));
    context.getResults().setInvitation(invitation);
  }
  Task<void> doTend(TendContext context) {
    auto params = context.getParams();
    ManagedEtcd::Hosts hosts;
    std::string unfit;
    for (auto host : params.getHosts()) {
      auto& at = hosts[host.getNodeId().cStr()];
      // Its agent has not told its address yet.
      if (host.getAddress().size() == 0) continue;
      auto read = attemptNow([&] { return hostOf(host); });
      if (read.ok()) at = read.value();
      // It has none, or keeps what it has, and is no reason for others to wait.
      if (!read.ok() && unfit.empty()) unfit = read.message().cStr();
    }
    auto tended = co_await of->tend(params.getEpoch(), std::move(hosts));
    context.getResults().setSettled(tended.settled);
    auto& waitsFor = tended.waitsFor.empty() ? unfit : tended.waitsFor;
    context.getResults().setWaitsFor(waitsFor.c_str());
  }

  kj::Own<ManagedEtcd> of;
};

}  // namespace

schema::StoreServers::Client newStoreServers(kj::Own<ManagedEtcd> of) {
  return kj::heap<Servers>(kj::mv(of));
}

}  // namespace orch::store::etcd
