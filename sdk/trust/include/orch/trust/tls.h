// TLS between nodes, from the certificates of one node.
#pragma once

#include <kj/compat/tls.h>

#include "orch/env.h"
#include "orch/trust/certificate.h"

namespace orch::trust {

// Of every handshake: after it, nobody waits for the other end any more.
constexpr kj::Duration HANDSHAKE_LIMIT = 10 * kj::SECONDS;
// Certificates of managers have this name, those of workers `worker.orch`: whoever connects says
// whom it expects.
constexpr kj::StringPtr MANAGER_NAME = "manager.orch"_kj;
constexpr kj::StringPtr WORKER_NAME = "worker.orch"_kj;

// Trusts that authority, or these, and nobody else. With `certificate` and `key` (both empty: none)
// it shows who it is; with `asksClients` it serves nobody without a certificate. For a client
// false: a manager is checked anyhow, and with true nobody is told what is wrong with it. Behind
// `certificate` may stand those of authorities that it is shown with.
kj::Own<kj::TlsContext> newTls(Env& env, const std::string& authority,
                               const std::string& certificate, const std::string& key,
                               bool asksClients);

// What a handshake that failed was about, in words that say what to do; the text itself if nobody
// knows better. `text`: of an exception of kj-tls.
kj::String tlsReason(kj::StringPtr text);
// Of KJ's text of a failed system call, `::bind(…): Cannot assign requested address; toString() =
// …`, what the system says.
kj::String systemReason(kj::StringPtr text);

// Of the other end of a connection that `newTls` made.
Holder holderOf(kj::PeerIdentity& identity);
std::string signerOf(kj::PeerIdentity& identity, const std::string& authorities);

}  // namespace orch::trust
