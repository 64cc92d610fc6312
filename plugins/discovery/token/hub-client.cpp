#include "hub-client.h"

#include <kj/debug.h>

#include "http/authorities.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::token {

namespace {

// `http://host:port`: without the path, which has the token in it.
kj::String hubOf(const std::string& url) {
  auto host = url.find("://") + 3;
  return kj::str("the hub '", url.substr(0, url.find('/', host)).c_str(), "'");
}

const char* meaningOf(unsigned status) {
  switch (status) {
    case 400:
      return ": it cannot read the request";
    case 404:
      return ": it does not know this token; make one with 'orch discovery create'";
    case 429:
      return ": it is asked too often";
    case 507:
      return ": it is full";
    default:
      return "";
  }
}

}  // namespace

HubClient::HubClient(Env& env, std::string caFile, kj::Duration timeout)
    : env(env),
      caFile(std::move(caFile)),
      timeout(timeout),
      plain(kj::newHttpClient(env.timer(), table, env.network(), nullptr)) {}

Task<std::string> HubClient::ask(kj::HttpMethod method, std::string url, std::string body) {
  auto sent = env.timer().timeoutAfter(timeout, send(method, url, body).promise());
  auto outcome = co_await attempt(kj::mv(sent));
  if (!outcome.ok()) {
    bool late = outcome.error().getType() == kj::Exception::Type::OVERLOADED;
    fail(kj::str(hubOf(url), " does not answer: ",
                 late ? "it takes longer than timeoutMs"_kj : outcome.message()));
  }
  auto& reply = outcome.value();
  if (reply.status != 200) {
    fail(kj::str(hubOf(url), " answers with the status ", reply.status, meaningOf(reply.status)));
  }
  co_return kj::mv(reply.text);
}

void HubClient::useTls(kj::Maybe<kj::String> pem) {
  if (tls != nullptr) return;  // two were asked at once
  kj::TlsContext::Options options;
  options.minVersion = kj::TlsVersion::TLS_1_2;
  std::vector<kj::TlsCertificate> authorities;
  KJ_IF_MAYBE (text, pem) {
    authorities = http::authoritiesIn(*text, "caFile");
    options.useSystemTrustStore = false;
    options.trustedCertificates = kj::arrayPtr(authorities.data(), authorities.size());
  }
  auto& context = *tls.emplace(kj::heap<kj::TlsContext>(options));
  auto& network = *tlsNetwork.emplace(context.wrapNetwork(env.network()));
  secure = kj::newHttpClient(env.timer(), table, env.network(), network);
}

Task<void> HubClient::prepareTls() {
  kj::Maybe<kj::String> certificate;
  if (!caFile.empty()) {
    auto& files = env.files();
    auto read = [&files, path = caFile] {
      return files.getRoot().openFile(kj::Path(nullptr).evalNative(path.c_str()))->readAllText();
    };
    auto pem = co_await attempt(env.workers().run(kj::mv(read)));
    if (!pem.ok()) fail(kj::str("caFile: cannot read '", caFile.c_str(), "'"));
    certificate = kj::mv(pem.value());
  }
  useTls(kj::mv(certificate));
}

kj::HttpClient::Request HubClient::open(kj::HttpMethod method, const std::string& url,
                                        uint64_t bodyBytes) {
  auto& client = url.starts_with("https:") ? *KJ_ASSERT_NONNULL(secure) : *plain;
  kj::HttpHeaders headers(table);
  headers.set(kj::HttpHeaderId::CONTENT_TYPE, "application/json");
  return client.request(method, url.c_str(), headers, bodyBytes);
}

Task<HubClient::Reply> HubClient::send(kj::HttpMethod method, std::string url, std::string body) {
  if (url.starts_with("https:") && secure == nullptr) {
    co_await prepareTls();
  }
  auto request = open(method, url, body.size());
  if (!body.empty()) co_await request.body->write(body.data(), body.size());
  request.body = nullptr;
  auto response = co_await request.response;
  Reply reply;
  reply.status = response.statusCode;
  auto text = co_await response.body->readAllText(MAX_ANSWER_BYTES);
  reply.text.assign(text.begin(), text.size());
  co_return kj::mv(reply);
}

}  // namespace orch::discovery::token
