#include "session/image-offers.h"

#include "orch/fail.h"
#include "orch/image-reference.h"

namespace orch::control::manager {

void ImageOffers::set(const std::string& nodeId, capnp::List<schema::OfferedImage>::Reader images) {
  size_t bytes = 0;
  std::vector<Offer> offers;
  for (auto image : images) {
    if (!isDigest(image.getDigest().cStr())) {
      fail(kj::str("usage: an image is offered by its digest, 'sha256:' and 64 digits"));
    }
    auto& offer = offers.emplace_back();
    offer.digest = image.getDigest().cStr();
    bytes += offer.digest.size();
    for (auto name : image.getNames()) {
      bytes += name.size();
      if (bytes <= MAX_BYTES) offer.names.push_back(name.cStr());
    }
    if (bytes > MAX_BYTES || offers.size() > MAX_IMAGES) {
      fail(kj::str("usage: a node offers at most ", MAX_IMAGES, " images with ", MAX_BYTES,
                   " bytes of names"));
    }
  }
  auto before = digestsOf(nodeId);
  forget(nodeId);
  for (auto& offer : offers) {
    byDigest[offer.digest].nodes.insert(nodeId);
    for (auto& name : offer.names) byName[name][offer.digest].insert(nodeId);
  }
  if (!offers.empty()) byNode[nodeId] = std::move(offers);
  noteChanges(nodeId, before);
}

void ImageOffers::withdraw(const std::string& nodeId) {
  auto before = digestsOf(nodeId);
  forget(nodeId);
  noteChanges(nodeId, before);
}

std::set<std::string> ImageOffers::digestsOf(const std::string& nodeId) const {
  std::set<std::string> digests;
  auto known = byNode.find(nodeId);
  if (known == byNode.end()) return digests;
  for (auto& offer : known->second) digests.insert(offer.digest);
  return digests;
}

// What a node says again is no news of its image. Those that nobody has any more go.
void ImageOffers::noteChanges(const std::string& nodeId, const std::set<std::string>& before) {
  const auto now = digestsOf(nodeId);
  for (auto digests : {&before, &now}) {
    for (auto& digest : *digests) {
      auto holders = byDigest.find(digest);
      if (holders == byDigest.end()) continue;
      if (before.count(digest) != now.count(digest)) holders->second.version = ++changes;
      if (holders->second.nodes.empty()) byDigest.erase(holders);
    }
  }
}

void ImageOffers::forget(const std::string& nodeId) {
  auto known = byNode.find(nodeId);
  if (known == byNode.end()) return;
  for (auto& offer : known->second) {
    byDigest[offer.digest].nodes.erase(nodeId);
    for (auto& name : offer.names) {
      auto& digests = byName[name];
      digests[offer.digest].erase(nodeId);
      if (digests[offer.digest].empty()) digests.erase(offer.digest);
      if (digests.empty()) byName.erase(name);
    }
  }
  byNode.erase(known);
}

const std::set<std::string>& ImageOffers::nodesWith(const std::string& digest) const {
  auto found = byDigest.find(digest);
  return found == byDigest.end() ? nobody : found->second.nodes;
}

uint64_t ImageOffers::versionOf(const std::string& digest) const {
  auto found = byDigest.find(digest);
  return found == byDigest.end() ? 0 : found->second.version;
}

std::map<std::string, std::set<std::string>> ImageOffers::imported(const std::string& name) const {
  auto found = byName.find(name);
  return found == byName.end() ? std::map<std::string, Nodes>() : found->second;
}

}  // namespace orch::control::manager
