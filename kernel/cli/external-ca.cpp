#include "external-ca.h"

#include "connection.h"
#include "credentials.h"
#include "orch/fail.h"
#include "value.h"

namespace orch::cli {

void ExternalCa::fill(schema::ExternalAuthority::Builder to) const {
  to.setProtocol(protocol);
  to.setUrl(url);
  to.setCertificate(certificate.c_str());
}

kj::Maybe<ExternalCa> externalCaOf(const Arguments& args) {
  kj::StringPtr flag = EXTERNAL_CA_OPTION.names;
  if (!args.given(flag)) return nullptr;
  auto given = args.text(flag);
  ExternalCa named;
  constexpr kj::StringPtr EXPECTED =
      "protocol=cfssl,url=https://HOST:PORT, and cacert=FILE if the system does not know it"_kj;
  auto rest = view(given);
  while (!rest.empty()) {
    auto part = rest.substr(0, rest.find(','));
    rest.remove_prefix(part.size() < rest.size() ? part.size() + 1 : part.size());
    auto equals = part.find('=');
    if (equals == std::string_view::npos) badValue(flag, given, EXPECTED);
    auto key = part.substr(0, equals);
    auto value = kj::heapString(part.data() + equals + 1, part.size() - equals - 1);
    if (value.size() == 0) badValue(flag, given, EXPECTED);
    if (key == "protocol") {
      named.protocol = kj::mv(value);
    } else if (key == "url") {
      named.url = kj::mv(value);
    } else if (key == "cacert") {
      named.certificate = readPem("certificate", value);
    } else {
      badValue(flag, given, EXPECTED);
    }
  }
  if (named.protocol != "cfssl" || named.url.size() == 0) badValue(flag, given, EXPECTED);
  return kj::mv(named);
}

Task<void> signThere(Context& context, ExternalCa ca) {
  auto cluster = co_await context.connection.cluster();
  auto authority = co_await cluster.authorityRequest().send();
  auto requestId = context.env.newId();
  co_await context.connection.change<schema::ClusterControl::RotateAuthorityResults>(
      [&](schema::ClusterControl::Client& asked) {
        auto request = asked.rotateAuthorityRequest();
        request.setRequestId(requestId);
        request.setCertificate(authority.getCertificate());
        ca.fill(request.initExternalAuthority());
        return request.send();
      },
      "whether certificates are signed there is unknown: look with 'orch info', then ask again");
}

}  // namespace orch::cli
