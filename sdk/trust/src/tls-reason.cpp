#include <string_view>

#include "orch/trust/tls.h"

namespace orch::trust {

namespace {

struct Reason {
  const char* sign;  // in OpenSSL's text
  const char* meaning;
};
// The other end's alerts first: they hold the words of what is found here, too.
constexpr Reason REASONS[] = {
    {"alert certificate expired",
     "it says that the certificate shown to it has expired; a node joins again with a token, an "
     "admin is added again"},
    {"alert unknown ca", "it is of another cluster than the certificate shown to it"},
    {"alert bad certificate",
     "it does not take the certificate shown to it; do the clocks of both hosts agree?"},
    {"alert certificate required", "it wants a certificate, and none was shown to it"},
    {"has expired",
     "its certificate has expired, as this host's clock has it; do the clocks of both hosts "
     "agree?"},
    {"not yet valid",
     "its certificate is not valid yet, as this host's clock has it; do the clocks of both hosts "
     "agree?"},
    {"mismatch", "it is no manager of the cluster"},
    {"unable to get local issuer certificate", "it is of another cluster"},
    {"unable to verify the first certificate", "it is of another cluster"},
    {"self-signed certificate", "it is of another cluster"},
    {"signature failure", "it is of another cluster"},
    {"wrong version number", "it does not speak TLS: is that orch's port?"},
};

}  // namespace

kj::String tlsReason(kj::StringPtr text) {
  auto all = std::string_view(text.begin(), text.size());
  bool handshake = all.find("OpenSSL error") != std::string_view::npos ||
                   all.find("TLS peer's certificate") != std::string_view::npos;
  if (!handshake) return kj::str(text);  // has words of its own
  for (auto& reason : REASONS) {
    if (all.find(reason.sign) != std::string_view::npos) return kj::str(reason.meaning);
  }
  return kj::str(text);
}

kj::String systemReason(kj::StringPtr text) {
  auto all = std::string_view(text.begin(), text.size());
  auto call = all.find("): ");
  if (call == std::string_view::npos) return kj::str(text);
  all.remove_prefix(call + 3);
  all = all.substr(0, all.find(';'));
  return kj::heapString(all.data(), all.size());
}

}  // namespace orch::trust
