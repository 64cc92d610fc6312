#include "image-index.h"

#include <capnp/message.h>
#include <kj/debug.h>

#include <cstring>

#include "orch/fail.h"

namespace orch::image::oci {

namespace {

capnp::ReaderOptions unlimited() {
  capnp::ReaderOptions options;
  // A record is read as often as it is asked for; its bytes are our own and checked.
  options.traversalLimitInWords = kj::maxValue;
  return options;
}

std::set<std::string> namesOf(const ImageRecord& record) {
  std::set<std::string> names;
  for (auto name : record.info().getReferences()) names.insert(name.cStr());
  return names;
}

std::set<std::string> pulledNames(const ImageRecord& record) {
  std::set<std::string> names;
  for (auto name : record.info().getPulled()) names.insert(name.cStr());
  return names;
}

// Of `pulled` those count that are names.
ImageIndex::Record withNames(schema::ImageInfo::Reader info, const std::set<std::string>& names,
                             std::set<std::string> pulled) {
  std::erase_if(pulled, [&](auto& name) { return names.count(name) == 0; });
  capnp::MallocMessageBuilder message;
  message.setRoot(info);
  auto list = message.getRoot<schema::ImageInfo>().initReferences(names.size());
  uint32_t i = 0;
  for (auto& name : names) list.set(i++, name);
  auto remote = message.getRoot<schema::ImageInfo>().initPulled(pulled.size());
  i = 0;
  for (auto& name : pulled) remote.set(i++, name);
  // Once more, so that the lists that were replaced take no room.
  capnp::MallocMessageBuilder compact;
  compact.setRoot(message.getRoot<schema::ImageInfo>().asReader());
  return std::make_shared<const ImageRecord>(capnp::messageToFlatArray(compact));
}

}  // namespace

std::string LayerEntry::text() const {
  return diffId + ":" + std::to_string(unpackedBytes) + ":" + blob + ":" +
         std::to_string(blobBytes);
}

LayerEntry LayerEntry::parse(kj::StringPtr text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ':') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  KJ_REQUIRE(parts.size() == 4 && parts[0].size() == 64 && isHex(parts[0]),
             "not a layer of the index", text);
  KJ_REQUIRE(parts[2].empty() || (parts[2].size() == 64 && isHex(parts[2])),
             "not a layer of the index", text);
  return {parts[0], strtoull(parts[1].c_str(), nullptr, 10), parts[2],
          strtoull(parts[3].c_str(), nullptr, 10)};
}

ImageRecord::ImageRecord(kj::Array<capnp::word> given)
    : words(kj::mv(given)),
      message_(words.asPtr(), unlimited()),
      reader(message_.getRoot<schema::ImageInfo>()) {}

std::string ImageRecord::manifest() const {
  auto own = info().getHolders();
  return own.size() > 0 ? own[0].cStr() : info().getDigest().cStr();
}

std::vector<LayerEntry> ImageRecord::layers() const {
  std::vector<LayerEntry> entries;
  for (auto text : reader.getLayers()) entries.push_back(LayerEntry::parse(text));
  return entries;
}

ImageIndex::Record ImageIndex::byId(const std::string& id) const {
  auto found = images.find(id);
  return found == images.end() ? nullptr : found->second;
}

ImageIndex::Record ImageIndex::byName(const std::string& familiar) const {
  auto found = names.find(familiar);
  return found == names.end() ? nullptr : byId(found->second);
}

ImageIndex::Record ImageIndex::find(kj::StringPtr text, size_t minId) const {
  std::string wanted = text.cStr();
  if (wanted.starts_with(SHA256)) {
    if (isDigest(wanted)) {
      if (auto record = byId(wanted)) return record;
      for (auto& [id, record] : images) {
        if (record->info().getDigest() == text || record->manifest() == wanted) return record;
      }
      return nullptr;
    }
    wanted.erase(0, SHA256.size());
  } else {
    auto reference = parseReference(text);
    if (auto record = byName(reference.familiar())) return record;
    if (!reference.digest.empty()) {
      for (auto& [id, record] : images) {
        bool meant = record->info().getDigest() == reference.digest.c_str() ||
                     record->manifest() == reference.digest;
        // Whatever its names are: it may have lost them since a service was made from it.
        if (meant) return record;
      }
      return nullptr;
    }
  }
  if (wanted.size() < minId || wanted.size() > 64 || !isHex(wanted)) return nullptr;
  Record match;
  std::string prefix = std::string(SHA256) + wanted;
  for (auto it = images.lower_bound(prefix); it != images.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    if (match) {
      fail(kj::str("'", text, "' is the beginning of several images' ids; give more of it"));
    }
    match = it->second;
  }
  return match;
}

ImageIndex::Record ImageIndex::require(kj::StringPtr text) const {
  auto record = find(text);
  if (record) return record;
  std::vector<std::string> known;
  for (auto& [name, id] : names) known.push_back(name);
  bool byDigest = text.startsWith("sha256:");
  auto similar = similarNames(byDigest ? text.cStr() : parseReference(text).familiar(), known);
  if (similar.empty()) {
    fail(kj::str("no image '", text, "' on this node; 'orch image ls' lists those that are"));
  }
  std::string list;
  for (auto& name : similar) list += (list.empty() ? "'" : ", '") + name + "'";
  fail(kj::str("no image '", text, "' on this node; similar: ", list.c_str()));
}

void ImageIndex::setNames(const std::string& id, const std::set<std::string>& wanted) {
  auto before = images.at(id);
  images[id] = withNames(before->info(), wanted, pulledNames(*before));
}

void ImageIndex::put(schema::ImageInfo::Reader info, bool pulled) {
  std::string id = info.getId().cStr();
  KJ_REQUIRE(isDigest(id), "an image's id is a digest", id.c_str());
  std::set<std::string> wanted;
  for (auto name : info.getReferences()) wanted.insert(name.cStr());
  for (auto& name : wanted) removeName(name);
  auto remote = pulled ? wanted : std::set<std::string>();
  if (auto before = byId(id)) {
    wanted.merge(namesOf(*before));
    remote.merge(pulledNames(*before));
  }
  images[id] = withNames(info, wanted, kj::mv(remote));
  for (auto& name : wanted) names[name] = id;
  if (images.size() > MAX_IMAGES) {
    fail(kj::str("this node has ", MAX_IMAGES, " images, the most that it can; remove some"));
  }
}

void ImageIndex::removeName(const std::string& familiar) {
  auto found = names.find(familiar);
  if (found == names.end()) return;
  auto id = found->second;
  names.erase(found);
  auto left = namesOf(*images.at(id));
  left.erase(familiar);
  setNames(id, left);
}

void ImageIndex::removeImage(const std::string& id) {
  auto record = byId(id);
  if (!record) return;
  for (auto& name : namesOf(*record)) names.erase(name);
  images.erase(id);
}

std::set<std::string> ImageIndex::layerFolders() const {
  std::set<std::string> folders;
  for (auto& [id, record] : images) {
    for (auto& layer : record->layers()) folders.insert(layer.folder());
  }
  return folders;
}

std::set<std::string> ImageIndex::blobs() const {
  std::set<std::string> digests;
  for (auto& [id, record] : images) {
    digests.insert(id.substr(SHA256.size()));
    digests.insert(record->manifest().substr(SHA256.size()));
  }
  return digests;
}

std::map<std::string, uint64_t> ImageIndex::keptBlobs() const {
  std::map<std::string, uint64_t> digests;
  for (auto& [id, record] : images) {
    if (record->info().getKeptBytes() == 0) continue;
    for (auto& layer : record->layers()) {
      if (!layer.blob.empty()) digests[layer.blob] = layer.blobBytes;
    }
  }
  return digests;
}

kj::Array<kj::byte> ImageIndex::encode() const {
  kj::Vector<kj::ArrayPtr<const capnp::word>> messages(images.size());
  for (auto& [id, record] : images) messages.add(record->message());
  return encodeRecords(messages);
}

ImageIndex ImageIndex::decode(kj::ArrayPtr<const kj::byte> bytes) {
  ImageIndex index;
  for (auto& record : decodeRecords(bytes)) {
    index.images[record->id()] = record;
    for (auto& name : namesOf(*record)) index.names[name] = record->id();
  }
  return index;
}

kj::Array<kj::byte> encodeRecords(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> messages) {
  size_t size = 0;
  for (auto message : messages) size += sizeof(uint64_t) + message.asBytes().size();
  auto bytes = kj::heapArray<kj::byte>(size);
  auto* at = bytes.begin();
  for (auto message : messages) {
    uint64_t length = message.asBytes().size();
    memcpy(at, &length, sizeof(length));
    memcpy(at + sizeof(length), message.asBytes().begin(), length);
    at += sizeof(length) + length;
  }
  return bytes;
}

std::vector<ImageIndex::Record> decodeRecords(kj::ArrayPtr<const kj::byte> bytes) {
  std::vector<ImageIndex::Record> records;
  while (bytes.size() > 0) {
    uint64_t length = 0;
    KJ_REQUIRE(bytes.size() >= sizeof(length), "a list of images is cut off");
    memcpy(&length, bytes.begin(), sizeof(length));
    bytes = bytes.slice(sizeof(length), bytes.size());
    KJ_REQUIRE(length <= bytes.size() && length % sizeof(capnp::word) == 0,
               "a list of images is cut off");
    auto words = kj::heapArray<capnp::word>(length / sizeof(capnp::word));
    memcpy(words.begin(), bytes.begin(), length);
    records.push_back(std::make_shared<const ImageRecord>(kj::mv(words)));
    bytes = bytes.slice(length, bytes.size());
  }
  return records;
}

}  // namespace orch::image::oci
