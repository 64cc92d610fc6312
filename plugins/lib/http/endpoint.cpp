#include "endpoint.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <charconv>

#include "authorities.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/wary-stream.h"

namespace orch::http {

namespace {

// kj-tls 0.9.2 does not hand out its context. An explicit instantiation may name a private member.
template <void* kj::TlsContext::*member>
struct HiddenContextOf {
  friend void* hiddenContextOf(kj::TlsContext& tls) { return tls.*member; }
};
void* hiddenContextOf(kj::TlsContext& tls);
template struct HiddenContextOf<&kj::TlsContext::ctx>;

// kj-tls compares whom it has connected to with the names in a certificate, never with its
// addresses.
int checkNameOrAddress(X509_STORE_CTX* context, void*) {
  auto* wanted = X509_STORE_CTX_get0_param(context);
  const char* host = X509_VERIFY_PARAM_get0_host(wanted, 0);
  if (host != nullptr && X509_VERIFY_PARAM_set1_ip_asc(wanted, host) == 1) {
    X509_VERIFY_PARAM_set1_host(wanted, nullptr, 0);
  }
  return X509_verify_cert(context);
}

struct PemTexts {
  kj::String ca, certificate, key;
};

kj::String readPem(kj::Filesystem& files, const char* setting, const std::string& path) {
  if (path.empty()) return kj::str();
  auto read = attemptNow([&] {
    return files.getRoot().openFile(kj::Path(nullptr).evalNative(path.c_str()))->readAllText();
  });
  if (!read.ok()) fail(kj::str(setting, ": cannot read '", path.c_str(), "'"));
  return kj::mv(read.value());
}

template <typename T, typename... Args>
T parsedPem(const char* setting, Args&&... args) {
  auto parsed = attemptNow([&] { return T(kj::fwd<Args>(args)...); });
  if (!parsed.ok()) fail(kj::str(setting, ": the file holds no such thing in PEM"));
  return kj::mv(parsed.value());
}

kj::Own<kj::TlsContext> newContext(const PemTexts& texts) {
  kj::TlsContext::Options options;
  options.minVersion = kj::TlsVersion::TLS_1_2;
  std::vector<kj::TlsCertificate> authorities;
  kj::Maybe<kj::TlsKeypair> own;
  if (texts.ca.size() > 0) {
    authorities = authoritiesIn(texts.ca, "ca");
    options.useSystemTrustStore = false;
    options.trustedCertificates = kj::arrayPtr(authorities.data(), authorities.size());
  }
  if (texts.certificate.size() > 0) {
    auto key = parsedPem<kj::TlsPrivateKey>("key", kj::StringPtr(texts.key));
    auto certificate = parsedPem<kj::TlsCertificate>("cert", kj::StringPtr(texts.certificate));
    options.defaultKeypair = own.emplace(kj::TlsKeypair{kj::mv(key), kj::mv(certificate)});
  }
  auto context = kj::heap<kj::TlsContext>(options);
  SSL_CTX_set_cert_verify_callback(static_cast<SSL_CTX*>(hiddenContextOf(*context)),
                                   &checkNameOrAddress, nullptr);
  return context;
}

// What kj-tls and OpenSSL say, beside what it means here.
constexpr const char* TLS_REASONS[][2] = {
    {"ostname mismatch", "its certificate is for another host"},
    {"IP address mismatch", "its certificate is for another host"},
    {"alert certificate expired",
     "it says that the certificate in 'cert' has expired; do the clocks of both hosts agree?"},
    {"has expired",
     "its certificate has expired, as this host's clock has it; renew it, if the clocks of both "
     "hosts agree"},
    {"not yet valid",
     "its certificate is not valid yet, as this host's clock has it; do the clocks of both hosts "
     "agree?"},
    {"certificate is not trusted", "its certificate is not signed by who is in 'ca'"},
    {"certificate verify failed", "its certificate is not signed by who is in 'ca'"},
    {"alert bad certificate", "it refuses the certificate in 'cert', or wants one"},
    {"alert certificate required", "it refuses the certificate in 'cert', or wants one"},
    // An alert that came before the first write: the handshake is over at our end by then.
    {"ssl connection ended during write", "it refuses the certificate in 'cert', or wants one"},
    {"wrong version number", "it does not speak TLS; use http://"},
    {"SSL unable to continue I/O", "it does not speak TLS; use http://"},
};

kj::String plainReason(kj::StringPtr text) {
  for (auto& [words, meaning] : TLS_REASONS) {
    if (strstr(text.cStr(), words) != nullptr) return kj::str(meaning);
  }
  // KJ's text of a failed system call: `connect(…): Connection refused; toString() = …`.
  std::string_view rest(text.begin(), text.size());
  rest = rest.substr(0, rest.find("; "));
  auto call = rest.find("): ");
  if (call != std::string_view::npos) rest.remove_prefix(call + 3);
  return kj::heapString(rest.data(), rest.size());
}

}  // namespace

Endpoint Endpoint::parse(std::string_view url) {
  Endpoint endpoint;
  endpoint.url = url;
  auto bad = [&] {
    fail(kj::str("'", endpoint.url.c_str(),
                 "' is no address of a server; accepted: http://host:port or https://host:port"));
  };
  endpoint.secure = url.starts_with("https://");
  if (!endpoint.secure && !url.starts_with("http://")) bad();
  auto rest = url.substr(endpoint.secure ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  auto colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0) bad();
  auto digits = rest.substr(colon + 1);
  auto end = digits.data() + digits.size();
  auto read = std::from_chars(digits.data(), end, endpoint.port);
  if (read.ec != std::errc() || read.ptr != end || endpoint.port == 0) bad();
  auto host = rest.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto accepted = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || (bracketed && c == ':');
  };
  for (char c : host) {
    if (!accepted(c)) bad();
  }
  endpoint.host = host;
  return endpoint;
}

// Where the HTTP client connects to.
class EndpointClient::Address final : public kj::NetworkAddress {
 public:
  Address(Env& env, const Endpoint& place, TlsFiles files)
      : env(env), place(place), files(std::move(files)) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect() override { return told(); }
  kj::Own<kj::ConnectionReceiver> listen() override { KJ_UNIMPLEMENTED("a client's address"); }
  kj::Own<kj::NetworkAddress> clone() override { KJ_UNIMPLEMENTED("a client's address"); }
  kj::String toString() override { return kj::str(place.url.c_str()); }
  void forgetTls() { tls = nullptr; }

 private:
  Task<kj::Own<kj::AsyncIoStream>> told() {
    auto outcome = co_await attempt(reach());
    if (!outcome.ok()) {
      auto reason = plainReason(plainText(outcome.error()));
      // A server of plain HTTP answers a TLS hello, but may be gone before that is read.
      bool brokenOff = place.secure && reason.startsWith("Connection reset by peer");
      if (brokenOff) reason = kj::str(reason, "; if it does not speak TLS, use http://");
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, kj::str(NOT_CONNECTED, reason)));
    }
    co_return kj::mv(outcome.value());
  }
  Task<kj::Own<kj::AsyncIoStream>> reach() {
    auto at = co_await env.network().parseAddress(place.host.c_str(), place.port);
    auto stream = co_await at->connect();
    keepAlive(*stream);
    // KJ writes a request's headers and its body apart: the second would wait for the first's ACK.
    int on = 1;
    stream->setsockopt(IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!place.secure) co_return kj::mv(stream);
    if (tls.get() == nullptr) {
      auto reading = env.workers().run([&all = env.files(), files = files] {
        return PemTexts{readPem(all, "ca", files.ca), readPem(all, "cert", files.certificate),
                        readPem(all, "key", files.key)};
      });
      auto texts = co_await reading;
      tls = kj::refcounted<Context>(newContext(texts));
    }
    auto used = kj::addRef(*tls);
    auto wrapped = co_await used->context->wrapClient(kj::mv(stream), place.host.c_str());
    co_return wrapped.attach(kj::mv(used));
  }

  struct Context final : public kj::Refcounted {
    explicit Context(kj::Own<kj::TlsContext> made) : context(kj::mv(made)) {}
    kj::Own<kj::TlsContext> context;
  };
  Env& env;
  const Endpoint& place;
  TlsFiles files;
  kj::Own<Context> tls;  // also of each connection that was made with it
};

EndpointClient::EndpointClient(Env& env, Endpoint endpoint, const TlsFiles& files)
    : place(std::move(endpoint)),
      hostHeader(place.url.substr(place.secure ? 8 : 7)),
      address(kj::heap<Address>(env, place, files)),
      http(kj::newHttpClient(env.timer(), table, *address)) {
  if (hostHeader.ends_with('/')) hostHeader.pop_back();
}
EndpointClient::~EndpointClient() noexcept(false) {}

kj::String EndpointClient::reasonOf(const kj::Exception& failure) {
  auto text = plainText(failure);
  return text.startsWith(NOT_CONNECTED) ? kj::str(text) : plainReason(text);
}

void EndpointClient::setHeader(std::string name, std::string value) {
  headerName = std::move(name);
  headerValue = std::move(value);
}

void EndpointClient::forget() { address->forgetTls(); }

kj::HttpClient::Request EndpointClient::open(kj::HttpMethod method, const std::string& path,
                                             uint64_t bodyBytes) {
  kj::HttpHeaders headers(table);
  headers.set(kj::HttpHeaderId::HOST, kj::StringPtr(hostHeader.c_str()));
  if (bodyBytes > 0) headers.set(kj::HttpHeaderId::CONTENT_TYPE, "application/json");
  if (!headerValue.empty()) headers.add(headerName.c_str(), headerValue.c_str());
  return http->request(method, path.c_str(), headers, bodyBytes);
}

Task<kj::HttpClient::Response> EndpointClient::send(kj::HttpMethod method, const std::string& path,
                                                    const std::string& body) {
  auto request = open(method, path, body.size());
  if (!body.empty()) co_await request.body->write(body.data(), body.size());
  request.body = nullptr;
  co_return co_await request.response;
}

Task<EndpointClient::Answer> EndpointClient::ask(kj::HttpMethod method, const std::string& path,
                                                 const std::string& body) {
  auto response = co_await send(method, path, body);
  Answer answer;
  answer.status = response.statusCode;
  if (!wanted.empty()) {
    response.headers->forEach([&](kj::StringPtr name, kj::StringPtr value) {
      if (strcasecmp(name.cStr(), wanted.c_str()) == 0) answer.header = value.cStr();
    });
  }
  auto text = co_await response.body->readAllText(MAX_ANSWER_BYTES);
  answer.text.assign(text.begin(), text.size());
  co_return kj::mv(answer);
}

Task<kj::Own<kj::AsyncInputStream>> EndpointClient::stream(const std::string& path,
                                                           const std::string& body) {
  auto response = co_await send(kj::HttpMethod::POST, path, body);
  if (response.statusCode != 200) {
    fail(kj::str("it answers with the status ", response.statusCode));
  }
  co_return kj::mv(response.body);
}

}  // namespace orch::http
