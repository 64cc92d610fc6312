// Which images a source holds for this node, and where their parts are: read from its documents
// alone, before anything is unpacked. Blocking; for the unpacker.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "unpack/ingest.h"
#include "unpack/platform.h"
#include "unpack/source.h"

namespace orch::image::oci {

// One image of the source, before its layers are there.
struct Plan {
  std::set<std::string> names;  // familiar; those of the source that are usable
  std::string config;           // the document
  std::string configDigest;
  std::string manifest;      // the document; empty: to be made
  std::string sourceConfig;  // the registry's own, if it may be another
  std::string sourceDigest;  // of the registry's own manifest, if that is another
  struct Layer {
    std::string path;        // within the source
    std::string blobDigest;  // empty: only the diffId is known
    uint64_t bytes = 0;
    std::string mediaType = {};  // empty: that of an uncompressed one
  };
  std::vector<Layer> layers;
  std::string label() const { return names.empty() ? configDigest.substr(0, 19) : *names.begin(); }
};

// All that run on `node`; of those that are listed for several processors the best, of those that
// are listed once per name one with all names. What is no image beside them is left out:
// signatures, attestations, other artifacts. Fails if nothing is left, and if `request.reference`
// names several.
std::vector<Plan> readPlans(const Source& source, const IngestRequest& request, const Node& node);

// Of the bytes of an image index: the digest of the manifest that suits the node best; empty if the
// bytes are no index. Fails if none suits.
std::string chooseManifest(const std::string& text, const Node& node);

}  // namespace orch::image::oci
