// The images that a node has, and their names. Plain values on the loop's thread; the bytes go to
// and from a checked file.
#pragma once

#include <capnp/serialize.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "orch/schema/image.capnp.h"
#include "reference.h"

namespace orch::image::oci {

inline constexpr size_t LAYER_NAME = 32;  // hexadecimal digits of a layer folder's name

// Of a store or a job: blobs of layers as they came, by their 64 digits.
inline constexpr const char* KEPT_FOLDER = "/kept";

// In a pull's folder, a checked file: the manifest as the registry has it, if it may be another
// than the one in the layout.
inline constexpr const char* SOURCE_MANIFEST = "/source-manifest";
// Of one in docker's schema, its configuration as well: it has a health check, which skopeo leaves
// out where it makes OCI's of it.
inline constexpr const char* SOURCE_CONFIG = "/source-config";

// A layer as the index knows it. Within the index and an unpacker's result, ImageInfo.layers holds
// these as text; whoever asks the plugin gets folders instead.
struct LayerEntry {
  std::string diffId;          // 64 hexadecimal digits: sha256 of the uncompressed tar
  uint64_t unpackedBytes = 0;  // of its files
  std::string blob;  // 64 hexadecimal digits: sha256 of what a registry sends; may be empty
  uint64_t blobBytes = 0;
  std::string text() const;
  static LayerEntry parse(kj::StringPtr text);
  // Half of the digest: a hundred such names fit into the one page that mount(2) takes.
  std::string folder() const { return diffId.substr(0, LAYER_NAME); }
};

// One image, immutable. Its message lies in one piece of memory.
class ImageRecord final {
 public:
  explicit ImageRecord(kj::Array<capnp::word> words);
  KJ_DISALLOW_COPY(ImageRecord);
  const schema::ImageInfo::Reader& info() const { return reader; }
  kj::ArrayPtr<const capnp::word> message() const { return words; }
  std::string id() const { return info().getId().cStr(); }
  // The digest of the manifest that is in the store. ImageInfo.digest is the registry's, and where
  // the two differ this one stands in ImageInfo.holders, which an index has no other use for.
  std::string manifest() const;
  std::vector<LayerEntry> layers() const;

 private:
  kj::Array<capnp::word> words;
  capnp::FlatArrayMessageReader message_;
  schema::ImageInfo::Reader reader;
};

// A value: a change is made on a copy, which replaces the original once it is on disk. Copies share
// the records.
class ImageIndex final {
 public:
  using Record = std::shared_ptr<const ImageRecord>;  // owned by the copies of the index
  static constexpr size_t MAX_IMAGES = 100'000;

  static constexpr size_t MIN_ID = 4;

  // The image that a user means: a name, `name@digest`, `sha256:…`, or the beginning of an id
  // (`minId` or more hexadecimal digits). Null if there is none. Fails if it is no reference at all
  // or several ids begin so.
  Record find(kj::StringPtr text, size_t minId = MIN_ID) const;
  // As above, but never null: the error says what looks similar.
  Record require(kj::StringPtr text) const;
  Record byId(const std::string& id) const;
  Record byName(const std::string& familiar) const;
  const std::map<std::string, Record>& all() const { return images; }

  // Adds an image or replaces the one of the same id. Names move to it from others; those that it
  // had stay. `pulled`: the new ones came from a registry.
  void put(schema::ImageInfo::Reader info, bool pulled);
  void removeName(const std::string& familiar);
  void removeImage(const std::string& id);

  // Folders of layers, and blobs (64 digits), that some image needs.
  std::set<std::string> layerFolders() const;
  std::set<std::string> blobs() const;
  // Blobs of layers (64 digits) that are kept for some image, and their sizes.
  std::map<std::string, uint64_t> keptBlobs() const;

  kj::Array<kj::byte> encode() const;
  static ImageIndex decode(kj::ArrayPtr<const kj::byte> bytes);

 private:
  void setNames(const std::string& id, const std::set<std::string>& names);
  std::map<std::string, Record> images;      // by id
  std::map<std::string, std::string> names;  // familiar name to id
};

// Records in one array of bytes: the form of the index and of an unpacker's result.
kj::Array<kj::byte> encodeRecords(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> messages);
std::vector<ImageIndex::Record> decodeRecords(kj::ArrayPtr<const kj::byte> bytes);

}  // namespace orch::image::oci
