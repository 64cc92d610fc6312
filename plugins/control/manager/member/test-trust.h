// For tests: the kernel's service `trust`, of a node that is in no cluster yet.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/schema/trust.capnp.h"
#include "orch/trust/certificate.h"
#include "orch/trust/lock-box.h"

namespace orch::control::manager {

struct TestTrust {
  bool member = false;
  trust::Holder holder;  // of the certificate
  std::string address;
  std::string key;
  uint32_t renewals = 0;
  bool ahead = false;  // this node's clock: what is renewed changes nothing
  std::vector<std::string> suggested;
  std::vector<std::string> joinedAt;
  std::string cluster;  // digest of its authority
  orch::trust::Trusted trusted;
  std::string lockKey;  // of its lock
  bool locked = false;  // it does not know it
  std::string dataKey = std::string(orch::trust::LOCK_KEY_BYTES, 'd');
  kj::PromiseFulfillerPair<void> unlocking = kj::newPromiseAndFulfiller<void>();
  std::vector<std::string> managers;
  uint32_t released = 0;
  // A way to another manager.
  std::function<capnp::Capability::Client(const std::string& address)> reached;

  void take(orch::trust::Trusted fresh) {
    trusted = kj::mv(fresh);
    cluster = orch::trust::digestOf(orch::trust::firstIn(trusted.authorities));
  }
  schema::Trust::Client client() { return kj::heap<Server>(*this); }

 private:
  class Server final : public schema::Trust::Server {
   public:
    explicit Server(TestTrust& trust) : trust(trust) {}
    kj::Promise<void> state(StateContext context) override {
      auto state = context.getResults().initState();
      state.setMember(trust.member);
      state.setRole(trust.holder.role);
      state.setNodeId(trust.holder.id.c_str());
      state.setAddress(trust.address.c_str());
      state.setCluster(trust.cluster.c_str());
      state.setTrusted(nameOf(trust.trusted).c_str());
      state.setLocked(trust.locked);
      state.setLock(orch::trust::nameOfKey(trust.lockKey).c_str());
      auto managers = state.initManagers(trust.managers.size());
      for (uint32_t i = 0; i < managers.size(); ++i) managers.set(i, trust.managers[i].c_str());
      state.setNotBeforeNs(trust.holder.notBeforeNs);
      state.setNotAfterNs(trust.holder.notAfterNs);
      return kj::READY_NOW;
    }
    kj::Promise<void> request(RequestContext context) override {
      auto keys = orch::trust::newKeyRequest();
      trust.key = keys.key;
      context.getResults().setRequest(keys.request.c_str());
      return kj::READY_NOW;
    }
    kj::Promise<void> adopt(AdoptContext context) override {
      auto params = context.getParams();
      orch::trust::checkSigned(params.getCertificate().cStr(), params.getAuthority().cStr(),
                               trust.key);
      trust.holder = orch::trust::holderOf(params.getCertificate().cStr());
      trust.address = params.getAddress().cStr();
      trust.trusted = {params.getAuthority().cStr(), "", ""};
      trust.cluster = orch::trust::digestOf(params.getAuthority().cStr());
      trust.member = true;
      return kj::READY_NOW;
    }
    kj::Promise<void> renew(RenewContext context) override {
      auto renewed = orch::trust::holderOf(context.getParams().getCertificate().cStr());
      if (!trust.ahead) trust.holder = renewed;
      auto trusted = orch::trust::trustedOf(context.getParams().getTrusted());
      if (!trusted.authorities.empty()) trust.take(kj::mv(trusted));
      ++trust.renewals;
      return kj::READY_NOW;
    }
    kj::Promise<void> lock(LockContext context) override {
      auto key = context.getParams().getKey().asChars();
      trust.lockKey = std::string(key.begin(), key.size());
      return kj::READY_NOW;
    }
    kj::Promise<void> unlocked(UnlockedContext) override {
      if (!trust.locked) return kj::READY_NOW;
      return kj::mv(trust.unlocking.promise);
    }
    kj::Promise<void> dataKey(DataKeyContext context) override {
      auto& key = trust.dataKey;
      context.getResults().setKey(
          kj::arrayPtr(reinterpret_cast<const kj::byte*>(key.data()), key.size()));
      return kj::READY_NOW;
    }
    kj::Promise<void> suggest(SuggestContext context) override {
      trust.suggested.clear();
      for (auto manager : context.getParams().getManagers()) {
        trust.suggested.emplace_back(manager.cStr());
      }
      return kj::READY_NOW;
    }
    kj::Promise<void> join(JoinContext context) override {
      for (auto manager : context.getParams().getManagers()) {
        trust.joinedAt.emplace_back(manager.cStr());
      }
      return kj::READY_NOW;
    }
    kj::Promise<void> reach(ReachContext context) override {
      context.getResults().setGateway(trust.reached(context.getParams().getAddress().cStr()));
      return kj::READY_NOW;
    }
    kj::Promise<void> know(KnowContext context) override {
      trust.managers.clear();
      for (auto manager : context.getParams().getManagers()) {
        trust.managers.emplace_back(manager.cStr());
      }
      return kj::READY_NOW;
    }
    kj::Promise<void> release(ReleaseContext) override {
      ++trust.released;
      return kj::READY_NOW;
    }
    // It counts at once, and not with the next start.
    kj::Promise<void> leave(LeaveContext) override {
      trust.member = false;
      trust.locked = false;
      trust.lockKey.clear();
      trust.cluster.clear();
      trust.trusted = {};
      trust.managers.clear();
      return kj::READY_NOW;
    }
    kj::Promise<void> restart(RestartContext) override { return kj::READY_NOW; }

   private:
    TestTrust& trust;
  };
};

}  // namespace orch::control::manager
