#include "authorities.h"

#include <kj/debug.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <memory>

#include "orch/fail.h"

namespace orch::http {

std::vector<kj::TlsCertificate> authoritiesIn(kj::StringPtr pem, const char* setting) {
  std::unique_ptr<BIO, decltype(&BIO_free_all)> text(
      BIO_new_mem_buf(pem.begin(), static_cast<int>(pem.size())), &BIO_free_all);
  std::vector<kj::TlsCertificate> all;
  for (;;) {
    std::unique_ptr<X509, decltype(&X509_free)> next(
        PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr), &X509_free);
    if (next == nullptr) break;
    unsigned char* bytes = nullptr;
    auto size = i2d_X509(next.get(), &bytes);
    KJ_ASSERT(size > 0, "i2d_X509");
    KJ_DEFER(OPENSSL_free(bytes));
    all.emplace_back(kj::arrayPtr(bytes, static_cast<size_t>(size)));
  }
  bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (all.empty()) fail(kj::str(setting, ": the file holds no such thing in PEM"));
  if (!whole) fail(kj::str(setting, ": one of the certificates in the file is damaged"));
  return all;
}

}  // namespace orch::http
