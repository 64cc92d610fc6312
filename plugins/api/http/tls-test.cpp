#include <catch2/catch.hpp>
#include <kj/compat/tls.h>

#include "http/testing/certificates.h"
#include "orch/attempt.h"
#include "test-served.h"

namespace orch::api::http {
namespace {

std::string contentOf(Env& env, const std::string& path) {
  auto absolute = kj::Path(nullptr).evalNative(path.c_str());
  return env.files().getRoot().openFile(absolute)->readAllText().cStr();
}

// With a certificate for 127.0.0.1, and clients that trust who signed it.
struct Secure {
  explicit Secure(unsigned requestMs = 10'000) {
    certificates.sign("server", "IP:127.0.0.1,DNS:localhost");
    NetSettings settings;
    settings.listen = "127.0.0.1:0";
    settings.certificate = contentOf(*env, certificates.file("server.pem"));
    settings.key = contentOf(*env, certificates.file("server.key"));
    settings.requestMs = requestMs;
    server.emplace(*env, site, std::move(settings));
    kj::TlsContext::Options options;
    options.useSystemTrustStore = false;
    kj::TlsCertificate authority(contentOf(*env, certificates.file("ca.pem")).c_str());
    options.trustedCertificates = kj::arrayPtr(&authority, 1);
    tls = kj::heap<kj::TlsContext>(options);
  }
  unsigned port() { return KJ_ASSERT_NONNULL(server).port(); }
  const NetFigures& figures() { return KJ_ASSERT_NONNULL(server).figures(); }
  kj::Own<kj::AsyncIoStream> connection() {
    auto address = env->network().parseAddress("127.0.0.1", port()).wait(io.waitScope);
    return address->connect().wait(io.waitScope);
  }
  TestClient client() {
    auto wrapped = tls->wrapClient(connection(), "localhost").wait(io.waitScope);
    return TestClient(io.waitScope, kj::mv(wrapped));
  }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, io.waitScope, what, kj::mv(reached));
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  orch::http::Certificates certificates{*env, io.waitScope, "api-http-tls"};
  EchoSite site;
  kj::Own<kj::TlsContext> tls;
  kj::Maybe<Server> server;
};

TEST_CASE("tls: one connection is asked again and again, and for what is large", "[api]") {
  Secure secure;
  auto client = secure.client();
  CHECK(client.send(get("/a")).answer() == "/a");
  CHECK(client.send(get("/large")).answer().size() == 3 << 20);
  CHECK(client.send(get("/b") + get("/c")).answer() == "/b");
  CHECK(client.answer() == "/c");
  std::string head;
  auto why = client.send("GET /%zz HTTP/1.1\r\n\r\n").answer(&head);
  CHECK(head.starts_with("HTTP/1.1 400 "));
  CHECK(client.read() == "");  // it has ended
  CHECK(secure.figures().accepted == 1);
}

TEST_CASE("tls: parts come as they are sent, and end with their client", "[api]") {
  Secure secure;
  auto all = secure.client().send(get("/parts")).read();
  CHECK(all.ends_with("7\r\npart 2\n\r\n0\r\n\r\n"));
  secure.site.most = 1 << 30;
  secure.client().send(get("/parts")).read("part 50\n");
  secure.until("it is over", [&] { return secure.site.waiting == 0; });
  secure.until("nothing is open", [&] { return secure.figures().connections == 0; });
}

TEST_CASE("tls: who speaks no TLS, or nothing at all, is let go", "[api]") {
  Secure secure(100);
  TestClient plain(secure.io.waitScope, secure.connection());
  auto heard = attemptNow([&] { return plain.send(get("/a")).read(); });
  if (heard.ok()) CHECK(heard.value().find("HTTP/") == std::string::npos);
  TestClient silent(secure.io.waitScope, secure.connection());
  auto end = attemptNow([&] { return silent.read(); });
  if (end.ok()) CHECK(end.value() == "");
  secure.until("they have ended", [&] { return secure.figures().connections == 0; });
}

TEST_CASE("tls: ends while requests are under way", "[api]") {
  Secure secure;
  auto client = secure.client();
  client.send(get("/wait"));
  secure.site.most = 1 << 30;
  auto other = secure.client();
  other.send(get("/parts")).read("part 3\n");
  secure.until("both are served", [&] { return secure.site.waiting == 2; });
  secure.server = nullptr;
  CHECK(secure.site.waiting == 0);
}

TEST_CASE("tls: a certificate without its key is refused", "[api]") {
  Secure secure;
  secure.certificates.sign("other", "IP:127.0.0.1");
  auto refused = [&](const std::string& certificate, const std::string& key) {
    NetSettings settings;
    settings.listen = "127.0.0.1:0";
    settings.certificate = certificate;
    settings.key = key;
    auto made = attemptNow([&] { Server(*secure.env, secure.site, settings); });
    return std::string(made.message().cStr());
  };
  auto certificate = contentOf(*secure.env, secure.certificates.file("server.pem"));
  auto key = contentOf(*secure.env, secure.certificates.file("other.key"));
  constexpr auto WRONG =
      "certificateFile and keyFile are no certificate and its private key, as PEM: ";
  CHECK(refused(certificate, key).starts_with(WRONG));
  CHECK(refused("nonsense", key).starts_with(WRONG));
  CHECK(refused(certificate, "nonsense").starts_with(WRONG));
}

}  // namespace
}  // namespace orch::api::http
