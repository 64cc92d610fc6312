// The documents of an image are accepted, or refused with a text that names the document.
#include <capnp/message.h>
#include <kj/debug.h>

#include <string_view>

#include "unpack/oci-json.h"

namespace oci = orch::image::oci;

namespace {
template <typename Parse>
void check(const char* document, Parse&& parse) {
  auto refusal = kj::runCatchingExceptions([&]() { parse(); });
  KJ_IF_MAYBE (e, refusal) {
    KJ_ASSERT(e->getDescription().startsWith(document), "a refusal that names no document", *e);
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  check("the image index ", [&]() { oci::parseIndex(text); });
  check("the image manifest ", [&]() { oci::parseManifest(text); });
  check("the archive's manifest.json ", [&]() { oci::parseDockerManifest(text); });
  check("the image configuration ", [&]() {
    capnp::MallocMessageBuilder message;
    oci::parseConfig(text, message.initRoot<orch::schema::ImageInfo>());
  });
  return 0;
}
