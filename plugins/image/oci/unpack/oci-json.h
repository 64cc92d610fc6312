// The JSON documents of images, read and written: pure functions over bytes from strangers. What is
// wrong is refused with a text that begins with the document's name ("the image manifest"). A
// document has at most MAX_DOCUMENT bytes.
// https://github.com/opencontainers/image-spec
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "orch/schema/image.capnp.h"
#include "unpack/platform.h"

namespace orch::image::oci {

inline constexpr size_t MAX_DOCUMENT = 4 << 20;  // what registries accept
inline constexpr size_t MAX_LAYERS = 500;        // overlayfs takes no more
inline constexpr size_t MAX_IMAGES_PER_INDEX = 1000;

struct BlobRef {
  std::string mediaType;
  std::string digest;  // checked: `sha256:…`
  uint64_t size = 0;
};

struct Manifest {
  BlobRef config;
  std::vector<BlobRef> layers;  // lowest first
  // Empty for an image, else what it is: the type of a signature, a list of parts, an attestation.
  std::string otherKind;
};

struct IndexEntry {
  BlobRef blob;
  Platform platform;
  std::string name;       // from its annotations; may be a bare tag, may be empty
  std::string otherKind;  // as Manifest::otherKind, as far as the index says so
  bool isIndex = false;   // another index
};

// One entry of a docker archive's manifest.json; the strings are paths within the archive.
struct DockerImage {
  std::string config;
  std::vector<std::string> names;
  std::vector<std::string> layers;
};

std::vector<IndexEntry> parseIndex(std::string_view json);
Manifest parseManifest(std::string_view json);
std::vector<DockerImage> parseDockerManifest(std::string_view json);
// Fills config, createdAtNs, os, architecture and variant, in one spelling: docker's for platforms,
// absolute paths for volumes. Returns the layers' digests, lowest first.
std::vector<std::string> parseConfig(std::string_view json, schema::ImageInfo::Builder image);

// Of a layer's blob that begins with these bytes.
std::string layerType(std::string_view head);
// A manifest over a configuration and its layers, for images that came without one. A layer without
// a type is uncompressed.
std::string newManifest(const BlobRef& config, const std::vector<BlobRef>& layers);
// The configuration of a root file system that was imported: one layer, nothing to run.
std::string newConfig(const std::string& architecture, int64_t createdAtSeconds,
                      const std::string& diffId);

}  // namespace orch::image::oci
