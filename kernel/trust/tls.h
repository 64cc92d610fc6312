// TLS between nodes, from the certificates of one node.
#pragma once

#include <kj/compat/tls.h>

#include "kernel/trust/certificate.h"
#include "orch/env.h"

namespace orch::trust {

// Of every handshake: after it, nobody waits for the other end any more.
constexpr kj::Duration HANDSHAKE_LIMIT = 10 * kj::SECONDS;
// Certificates of managers have this name, those of workers `worker.orch`: whoever connects says
// whom it expects.
constexpr kj::StringPtr MANAGER_NAME = "manager.orch"_kj;

// Trusts that authority and nobody else. With `certificate` and `key` (both empty: none) it shows
// who it is; with `asksClients` it serves nobody without a certificate.
kj::Own<kj::TlsContext> newTls(Env& env, const std::string& authority,
                               const std::string& certificate, const std::string& key,
                               bool asksClients);

// Of the other end of a connection that `newTls` made.
Holder holderOf(kj::PeerIdentity& identity);

}  // namespace orch::trust
