// For the tests of membership: a manager on a host whose kernel can be in a cluster.
#pragma once

#include <string>

#include "member/test-trust.h"
#include "orch/fail.h"
#include "orch/schema/gateway.capnp.h"
#include "test-cluster.h"

namespace orch::control::manager {

struct MemberFixture {
  explicit MemberFixture(kj::StringPtr name)
      : folder(name), cluster(1000, testing::testSeed(), folder.path()) {
    cluster.host.addService("trust", kernel.client());
    cluster.start();
  }
  // A member asks itself what it is to be, until it is stopped.
  ~MemberFixture() { cluster.stop(); }
  void init(uint64_t certificateMs = 0) {
    auto request = cluster.control.initRequest();
    request.setRequestId("init");
    request.setAddress("10.0.0.1");
    request.setCertificateMs(certificateMs);
    request.send().wait(scope());
  }
  capnp::Response<schema::ClusterControl::AddAdminResults> add(kj::StringPtr name,
                                                               kj::StringPtr requestId,
                                                               const std::string& csr) {
    auto request = cluster.control.addAdminRequest();
    request.setRequestId(requestId);
    request.setName(name);
    request.setRequest(csr.c_str());
    return request.send().wait(scope());
  }
  void remove(kj::StringPtr name) {
    auto request = cluster.control.removeAdminRequest();
    request.setRequestId(kj::str("remove-", name));
    request.setName(name);
    request.send().wait(scope());
  }
  template <typename F>
  std::string errorOf(F&& run) {
    auto outcome = attemptNow(run);
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  // As a kernel asks for a peer of this certificate.
  kj::Promise<capnp::Capability::Client> open(const char* service, const trust::Holder& holder) {
    auto request = cluster.peers.at(service).openRequest();
    auto peer = request.initPeer();
    peer.setRole(holder.role);
    peer.setId(holder.id.c_str());
    peer.setFingerprint(holder.fingerprint.c_str());
    return request.send().then([](auto&& answer) { return answer.getService(); });
  }
  std::string refusal(const char* service, const trust::Holder& holder) {
    auto opened = attempt(open(service, holder)).wait(scope());
    return opened.ok() ? "" : opened.message().cStr();
  }
  uint32_t lines(const char* text) {
    uint32_t count = 0;
    for (auto& line : cluster.host.logLines()) count += line.find(text) != std::string::npos;
    return count;
  }
  kj::WaitScope& scope() { return cluster.world.waitScope(); }

  testing::TestFolder folder;
  TestTrust kernel;
  TestCluster cluster;
};

}  // namespace orch::control::manager
