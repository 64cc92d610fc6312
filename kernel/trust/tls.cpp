#include "kernel/trust/tls.h"

#include <kj/debug.h>

namespace orch::trust {

namespace {

// kj-tls 0.9.2 tells the common name alone and keeps the certificate to itself. An explicit
// instantiation may name a private member.
template <void* kj::TlsPeerIdentity::*member>
struct CertificateOf {
  friend void* certificateOf(kj::TlsPeerIdentity& identity) { return identity.*member; }
};
void* certificateOf(kj::TlsPeerIdentity& identity);
template struct CertificateOf<&kj::TlsPeerIdentity::cert>;

class PutBack final : public kj::AsyncIoStream {
 public:
  PutBack(kj::byte first, kj::Own<kj::AsyncIoStream> stream)
      : first(first), stream(kj::mv(stream)) {}

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    if (taken || most == 0) return stream->tryRead(buffer, least, most);
    taken = true;
    auto* bytes = static_cast<kj::byte*>(buffer);
    bytes[0] = first;
    if (least <= 1) return size_t{1};
    return stream->tryRead(bytes + 1, least - 1, most - 1).then([](size_t n) { return n + 1; });
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    return stream->write(buffer, size);
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    return stream->write(pieces);
  }
  kj::Promise<void> whenWriteDisconnected() override { return stream->whenWriteDisconnected(); }
  void shutdownWrite() override { stream->shutdownWrite(); }
  void abortRead() override { stream->abortRead(); }
  void getsockopt(int level, int option, void* value, kj::uint* length) override {
    stream->getsockopt(level, option, value, length);
  }
  void setsockopt(int level, int option, const void* value, kj::uint length) override {
    stream->setsockopt(level, option, value, length);
  }
  void getsockname(struct sockaddr* address, kj::uint* length) override {
    stream->getsockname(address, length);
  }
  void getpeername(struct sockaddr* address, kj::uint* length) override {
    stream->getpeername(address, length);
  }

 private:
  const kj::byte first;
  bool taken = false;
  kj::Own<kj::AsyncIoStream> stream;
};

}  // namespace

kj::Own<kj::TlsContext> newTls(Env& env, const std::string& authority,
                               const std::string& certificate, const std::string& key,
                               bool asksClients) {
  kj::TlsCertificate trusted(kj::StringPtr(authority.c_str()));
  kj::TlsContext::Options options;
  options.useSystemTrustStore = false;
  options.verifyClients = asksClients;
  options.trustedCertificates = kj::arrayPtr(&trusted, 1);
  options.minVersion =
      kj::TlsVersion::TLS_1_2;  // kj-tls has no word for 1.3, which is what is used
  options.timer = env.timer();
  options.acceptTimeout = HANDSHAKE_LIMIT;
  if (certificate.empty()) return kj::heap<kj::TlsContext>(options);
  kj::TlsKeypair own{kj::TlsPrivateKey(kj::StringPtr(key.c_str())),
                     kj::TlsCertificate(kj::StringPtr(certificate.c_str()))};
  options.defaultKeypair = own;
  return kj::heap<kj::TlsContext>(options);
}

Holder holderOf(kj::PeerIdentity& identity) {
  auto* certificate = certificateOf(kj::downcast<kj::TlsPeerIdentity>(identity));
  KJ_REQUIRE(certificate != nullptr, "the other end has shown no certificate");
  return holderOf(certificate);
}

kj::Own<kj::AsyncIoStream> putBack(kj::byte first, kj::Own<kj::AsyncIoStream> stream) {
  return kj::heap<PutBack>(first, kj::mv(stream));
}

}  // namespace orch::trust
