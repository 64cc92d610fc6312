#include "http/settings.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::http {

namespace {
constexpr uint32_t MAX_ENDPOINTS = 16;
}  // namespace

std::vector<Endpoint> endpointsOf(capnp::List<capnp::Text>::Reader given, kj::StringPtr fallback) {
  if (given.size() > MAX_ENDPOINTS) {
    fail(kj::str("endpoints: ", given.size(), " are too many; at most ", MAX_ENDPOINTS));
  }
  std::vector<Endpoint> endpoints;
  for (auto url : given) {
    auto parsed = attemptNow([&] { return Endpoint::parse(url.cStr()); });
    if (!parsed.ok()) fail(kj::str("endpoints: ", parsed.message()));
    endpoints.push_back(kj::mv(parsed.value()));
  }
  if (endpoints.empty()) endpoints.push_back(Endpoint::parse(fallback.cStr()));
  return endpoints;
}

std::string fileOf(kj::StringPtr setting, kj::StringPtr path) {
  if (path.size() > 0 && !path.startsWith("/")) {
    fail(kj::str(setting, " is '", path, "'; accepted: an absolute path"));
  }
  return path.cStr();
}

TlsFiles tlsFilesOf(FileSetting ca, FileSetting certificate, FileSetting key) {
  TlsFiles files{fileOf(ca.name, ca.path), fileOf(certificate.name, certificate.path),
                 fileOf(key.name, key.path)};
  if (files.certificate.empty() != files.key.empty()) {
    fail(kj::str(certificate.name, " and ", key.name, ": one is of no use without the other"));
  }
  return files;
}

}  // namespace orch::http
