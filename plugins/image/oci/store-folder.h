// The folder of an image store on the disk, and what is done to it. Blocking: for worker threads.
//
//   lock              held by the plugin and by every child that writes here
//   index             a checked file: the images
//   layers/<32 hex>/  unpacked layers; the name is half of the digest of the uncompressed tar
//   blobs/<64 hex>    checked files: manifests and configurations, by their digests
//   kept/<64 hex>     blobs of layers as they came, for other hosts; receivers check them
//   holds/            see hold-table.h
//   tmp/              jobs under way and what is about to go: nothing in it survives a start
#pragma once

#include <kj/io.h>

#include <map>
#include <set>
#include <string>

#include "hold-table.h"
#include "image-index.h"

namespace orch::image::oci {

struct StoreState {
  ImageIndex index;
  std::vector<HoldTable::Hold> holds;
  std::set<std::string> keptBlobs;   // names of what is in kept/
  std::vector<std::string> damaged;  // ids of images that miss a layer
  std::vector<std::string> kept;     // why something that should have gone is still there
};

// A lock on `<root>/lock`, made with its folders. Waits for the children of one that was killed a
// moment ago; fails if another orchd has it.
kj::AutoCloseFd lockStore(const std::string& root);
// What the last run left. Removes its unfinished work, and layers and blobs that nobody needs; what
// cannot be removed stays. Fails if the index is damaged.
StoreState openStore(const std::string& root);
// The ids of images of which a layer's folder is missing.
std::vector<std::string> damagedImages(const std::string& root, const ImageIndex& index);
// Takes what no image of the index needs out of the store, layers into tmp/, and removes it there.
void sweepStore(const std::string& root, const ImageIndex& index);
// Names of the blobs in kept/.
std::set<std::string> listKept(const std::string& root);
// A layer that a pull need not fetch.
struct Placeholder {
  std::string folder;  // within layers/
  uint64_t bytes = 0;  // of the blob
};
// An OCI layout for a pull to fill, with an empty file of the right length for each blob (by its 64
// digits) whose layer is really there.
void makeLayout(const std::string& root, const std::string& path,
                const std::map<std::string, Placeholder>& placeholders);
// Whether the manifest of the one image that a pull brought may be another than the registry's:
// what is written on the way is in one line, which many original ones are not.
bool mayBeConverted(const std::string& layout);
// At most `maxBytes` of a kept blob, by its 64 digits; less at its end.
struct KeptPart {
  kj::Array<kj::byte> bytes;
  uint64_t totalBytes = 0;
};
KeptPart readKept(const std::string& root, const std::string& name, uint64_t offset,
                  size_t maxBytes);
// Makes the folder of an OCI layout with those of the kept blobs that are among `names`; says
// which.
std::vector<std::string> layOutKept(const std::string& root, const std::string& layout,
                                    const std::vector<std::string>& names);
// A document of an image. Fails with a text that names the image if it is damaged.
kj::String readBlob(const std::string& root, const std::string& digest, kj::StringPtr image);

}  // namespace orch::image::oci
