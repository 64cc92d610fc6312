#include "test-hub.h"

#include <algorithm>

#include "lib/testing/localhost-certificate.h"

namespace orch::discovery::token {

namespace {

kj::Maybe<kj::Own<kj::TlsContext>> contextOf(bool secure) {
  if (!secure) return nullptr;
  kj::TlsKeypair pair{kj::TlsPrivateKey(LOCALHOST_KEY), kj::TlsCertificate(LOCALHOST_CERTIFICATE)};
  kj::TlsContext::Options options;
  options.defaultKeypair = pair;
  return kj::heap<kj::TlsContext>(options);
}

}  // namespace

TestHub::TestHub(kj::AsyncIoContext& io, bool secure)
    : tls(contextOf(secure)),
      server(io.provider->getTimer(), table, *this),
      receiver(io.provider->getNetwork().parseAddress("127.0.0.1").wait(io.waitScope)->listen()),
      port(receiver->getPort()),
      listening(accept().eagerlyEvaluate(nullptr)) {}
TestHub::~TestHub() noexcept(false) {}

kj::Promise<void> TestHub::accept() {
  return receiver->accept().then([this](kj::Own<kj::AsyncIoStream> stream) {
    kj::Promise<kj::Own<kj::AsyncIoStream>> ready = nullptr;
    KJ_IF_MAYBE (context, tls) {
      ready = (*context)->wrapServer(kj::mv(stream));
    } else {
      ready = kj::mv(stream);
    }
    serving.add(ready.then(
        [this](kj::Own<kj::AsyncIoStream> wrapped) { return server.listenHttp(kj::mv(wrapped)); }));
    return accept();
  });
}

std::string TestHub::hub() const {
  auto host = tls == nullptr ? "token+http://127.0.0.1:" : "token://localhost:";
  return host + std::to_string(port);
}
std::string TestHub::uri() const { return hub() + "/v1/abc"; }

kj::Promise<void> TestHub::reply(Response& response, std::string text) {
  auto out = response.send(status, "as told", kj::HttpHeaders(table), text.size());
  auto* to = out.get();
  auto kept = kj::heap<std::string>(std::move(text));
  return to->write(kept->data(), kept->size()).attach(kj::mv(out), kj::mv(kept));
}

kj::Promise<void> TestHub::request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders&,
                                   kj::AsyncInputStream& body, Response& response) {
  auto line = kj::str(method, " ", url);
  return body.readAllText().then([this, &response, method, line = kj::mv(line)](kj::String text) {
    requests.emplace_back(kj::str(line, text.size() > 0 ? " " : "", text).cStr());
    if (hangs) return kj::Promise<void>(kj::NEVER_DONE);
    if (!raw.empty()) return reply(response, raw);
    if (line == "POST /v1/clusters"_kj) return reply(response, "0123456789abcdef");
    std::erase(entries, text.cStr());
    if (method == kj::HttpMethod::POST) entries.emplace_back(text.cStr());
    std::string json;
    for (auto& entry : entries) json += (json.empty() ? "\"" : ",\"") + entry + "\"";
    return reply(response, method == kj::HttpMethod::GET ? "[" + json + "]" : "OK");
  });
}

}  // namespace orch::discovery::token
