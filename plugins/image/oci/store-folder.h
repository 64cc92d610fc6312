// The folder of an image store on the disk, and what is done to it. Blocking: for worker threads.
//
//   lock              held by the plugin and by every child that writes here
//   index             a checked file: the images
//   layers/<32 hex>/  unpacked layers; the name is half of the digest of the uncompressed tar
//   blobs/<64 hex>    checked files: manifests and configurations, by their digests
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
  std::vector<std::string> damaged;  // ids of images that miss a layer
};

// A lock on `<root>/lock`, made with its folders; nothing if somebody else has it: another plugin,
// or a child of one that was killed a moment ago.
kj::Maybe<kj::AutoCloseFd> lockStore(const std::string& root);
// What the last run left. Removes its unfinished work, and layers and blobs that nobody needs.
// Fails if the index is damaged.
StoreState openStore(const std::string& root);
// Takes what is not among the needed out of the store, into tmp/, and removes it there.
void sweepStore(const std::string& root, const std::set<std::string>& layers,
                const std::set<std::string>& blobs);
// An OCI layout for a pull to fill, with an empty file of the given length for each blob (64
// digits) that need not be fetched.
void makeLayout(const std::string& path, const std::map<std::string, uint64_t>& placeholders);
// A document of an image. Fails with a text that names the image if it is damaged.
kj::String readBlob(const std::string& root, const std::string& digest, kj::StringPtr image);

}  // namespace orch::image::oci
