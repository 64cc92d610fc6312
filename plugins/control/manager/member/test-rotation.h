// For the tests of the authority: two managers, one of which replaces it.
#pragma once

#include <string>

#include "lead/test-lead-host.h"

namespace orch::control::manager {

struct RotationFixture : LeadFixture {
  using LeadFixture::LeadFixture;
  std::string rotate(LeadHost& at, const char* requestId, const std::string& certificate = {},
                     const std::string& key = {}) {
    auto request = at.control.rotateAuthorityRequest();
    request.setRequestId(requestId);
    request.setCertificate(certificate.c_str());
    request.setKey(key.c_str());
    auto done = attempt(request.send().ignoreResult()).wait(around.world.waitScope());
    return done.ok() ? "" : plainText(done.error()).cStr();
  }
  capnp::Response<schema::ClusterControl::AuthorityResults> ask(LeadHost& at) {
    return at.control.authorityRequest().send().wait(around.world.waitScope());
  }
  std::string digest(LeadHost& at) { return trust::digestOf(ask(at).getCertificate().cStr()); }
  std::string token(LeadHost& at) {
    auto request = at.control.joinTokenRequest();
    request.setRequestId("token");
    return request.send().wait(around.world.waitScope()).getToken().cStr();
  }
  std::string keyFile(LeadHost& at) { return at.folder.sub("control.manager.authority").cStr(); }
};

}  // namespace orch::control::manager
