// A manifest is accepted, or refused with the file and the line.
#include <kj/debug.h>

#include <cstring>
#include <string>

#include "kernel/config/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  auto refusal = kj::runCatchingExceptions(
      [&]() { orch::config::parseManifest(text, "/etc/orch/orchd.toml"); });
  KJ_IF_MAYBE (e, refusal) {
    KJ_ASSERT(e->getDescription().startsWith("/etc/orch/orchd.toml"),
              "a refusal that names no place", *e);
  }
  return 0;
}
