#include "unpack/parts.h"

#include <kj/debug.h>

#include <filesystem>
#include <set>

#include "orch/fail.h"
#include "unpack/digest.h"
#include "unpack/source.h"

namespace orch::image::oci {

std::vector<BlobRef> partsOf(const std::string& path) {
  auto slash = path.rfind('/');
  auto digest = "sha256:" + path.substr(slash + 1);
  auto text =
      readWithin(path.substr(0, slash), path.substr(slash + 1), "manifest " + digest, MAX_DOCUMENT);
  auto found = sha256(text);
  if (found != digest) {
    fail(kj::str("manifest ", digest.c_str(), " is damaged: its content is ", found.c_str()));
  }
  auto manifest = parseManifest(text);
  if (!manifest.otherKind.empty()) {
    fail(kj::str("manifest ", digest.c_str(),
                 " is of no image: ", manifest.otherKind.substr(0, 100).c_str()));
  }
  std::vector<BlobRef> parts;
  std::set<std::string> seen;
  manifest.layers.insert(manifest.layers.begin(), manifest.config);
  for (auto& part : manifest.layers) {
    if (seen.insert(part.digest).second) parts.push_back(part);
  }
  return parts;
}

std::vector<std::string> damagedIn(const std::string& folder) {
  std::vector<std::string> damaged;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    auto name = entry.path().filename().string();
    auto file = openWithin(folder, name, "blob " + name);
    uint64_t bytes = 0;
    if (sha256OfFile(file, bytes) != "sha256:" + name) damaged.push_back(name);
  }
  return damaged;
}

}  // namespace orch::image::oci
