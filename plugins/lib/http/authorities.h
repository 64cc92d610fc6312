// Whom a client of TLS trusts.
#pragma once

#include <kj/compat/tls.h>

#include <vector>

namespace orch::http {

// All that a text in PEM holds, one by one: of a certificate with several, kj-tls trusts the first.
// Fails if there is none, or one is damaged; `setting` is what named the file.
std::vector<kj::TlsCertificate> authoritiesIn(kj::StringPtr pem, const char* setting);

}  // namespace orch::http
