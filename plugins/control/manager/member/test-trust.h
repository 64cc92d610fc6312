// For tests: the kernel's service `trust`, of a node that is in no cluster yet.
#pragma once

#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/schema/trust.capnp.h"
#include "orch/trust/certificate.h"

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
      trust.member = true;
      return kj::READY_NOW;
    }
    kj::Promise<void> renew(RenewContext context) override {
      auto renewed = orch::trust::holderOf(context.getParams().getCertificate().cStr());
      if (!trust.ahead) trust.holder = renewed;
      ++trust.renewals;
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
    kj::Promise<void> restart(RestartContext) override { return kj::READY_NOW; }

   private:
    TestTrust& trust;
  };
};

}  // namespace orch::control::manager
