// Of an etcd that the plugin runs itself, and how this host's member is asked.
#pragma once

#include <string>

#include "etcd/client.h"

namespace orch::store::etcd {

struct ManagedSettings {
  std::string folder;  // `<data>/<instance>`
  uint64_t quotaBytes = 0;
  uint16_t peerPort = 0;
  uint16_t clientPort = 0;
  uint32_t maxOps = 0;
  uint64_t maxBytes = 0;
  kj::Duration timeout = 5 * kj::SECONDS;

  http::Endpoint endpoint() const {
    return http::Endpoint::parse("https://127.0.0.1:" + std::to_string(clientPort));
  }
  http::TlsFiles tls() const {
    auto at = folder + "/tls/";
    return {at + "ca.pem", at + "member.pem", at + "member.key"};
  }
};

}  // namespace orch::store::etcd
