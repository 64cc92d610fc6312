// The whole of one import in the unpacker's process: what the source holds, its digests checked,
// its layers unpacked, and everything renamed into the store at the very end. Until then nothing
// outside of the job's folder has changed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace orch::image::oci {

struct IngestRequest {
  std::string root;          // the store: layers/, blobs/ and kept/ are in it
  std::string job;           // a folder of its own in the same file system
  std::string source;        // a file or folder
  std::string reference;     // familiar name for the one image; empty: the source's own names
  std::string architecture;  // of this node, as Go calls it: amd64
  unsigned level = 0;        // of this node's processor; 0: it is looked up
  uint64_t maxLayerBytes = 0;
  bool keep = false;  // the layers' blobs, in kept/ of the store
  // How far it is, in bytes of the source's blobs.
  std::function<void(const std::string& text, uint64_t done, uint64_t total)> onProgress;
};

// Leaves `<job>/images`, a checked file of image records. Fails with one line for the user.
void ingest(const IngestRequest& request);

// Of a registry's answer in the file `request.source`: the digest of the image that suits this node
// best if it is a list of images, else nothing. Fails if none suits.
std::string chooseForThisNode(const IngestRequest& request);

}  // namespace orch::image::oci
