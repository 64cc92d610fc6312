#include "lib/entry.h"

#include <kj/string.h>

#include <algorithm>

#include "lib/address.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery {

namespace {

using Role = schema::DiscoveryEntry::Role;
constexpr uint64_t LEAST_ENTRY_MS = 1000;
constexpr uint64_t MOST_ENTRY_MS = 86'400'000;
constexpr size_t MAX_DIGEST = 128;
constexpr size_t MAX_NODE_ID = 64;
constexpr std::string_view NOT_KNOWN = "-";

bool isWord(std::string_view text, size_t most) {
  return text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == ':' || c == '-';
         });
}
std::string_view textView(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

struct Details {
  Role role = Role::UNKNOWN;
  std::string clusterDigest;
  std::string nodeId;
};

Details readDetails(std::string_view text) {
  auto next = [&] {
    auto word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    return word == NOT_KNOWN ? std::string_view() : word;
  };
  Details details;
  auto role = next(), digest = next(), node = next();
  if (role == "manager") details.role = Role::MANAGER;
  if (role == "worker") details.role = Role::WORKER;
  if (isWord(digest, MAX_DIGEST)) details.clusterDigest = digest;
  if (isWord(node, MAX_NODE_ID)) details.nodeId = node;
  return details;
}

}  // namespace

void checkEntry(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs) {
  if (!isAddress(textView(entry.getAddress()))) {
    fail(kj::str("address is '", entry.getAddress(), "'; accepted: host:port, in lower case"));
  }
  if (!isWord(textView(entry.getClusterDigest()), MAX_DIGEST)) {
    fail(kj::str("clusterDigest has more than 128 bytes, or others than [A-Za-z0-9._:-]"));
  }
  if (!isWord(textView(entry.getNodeId()), MAX_NODE_ID)) {
    fail(kj::str("nodeId has more than 64 bytes, or others than [A-Za-z0-9._:-]"));
  }
  if (ttlMs < LEAST_ENTRY_MS || ttlMs > MOST_ENTRY_MS) {
    fail(kj::str("ttlMs is ", ttlMs, "; accepted: 1 second to 24 hours"));
  }
}

std::string detailsOf(schema::DiscoveryEntry::Reader entry) {
  auto word = [](capnp::Text::Reader text) {
    return text.size() == 0 ? std::string(NOT_KNOWN) : std::string(textView(text));
  };
  auto role = entry.getRole() == Role::MANAGER  ? "manager"
              : entry.getRole() == Role::WORKER ? "worker"
                                                : "-";
  return std::string(role) + " " + word(entry.getClusterDigest()) + " " + word(entry.getNodeId());
}

Answer answerWith(const std::map<std::string, std::string>& details) {
  if (details.size() > MAX_ENTRIES) fail(kj::str("it names more than ", MAX_ENTRIES, " addresses"));
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  auto params = message->initRoot<schema::DiscoverySink::EntriesParams>();
  auto list = params.initEntries(details.size());
  uint32_t i = 0;
  for (auto& [address, text] : details) {
    auto known = readDetails(text);
    auto entry = list[i++];
    entry.setAddress(address.c_str());
    entry.setRole(known.role);
    if (!known.clusterDigest.empty()) entry.setClusterDigest(known.clusterDigest.c_str());
    if (!known.nodeId.empty()) entry.setNodeId(known.nodeId.c_str());
  }
  return message;
}

Answer answerOfKeys(const std::map<std::string, std::string>& keys, const std::string& nodes,
                    const std::string& details) {
  std::map<std::string, std::string> all;
  for (auto& [key, value] : keys) {
    // The folder itself, which classic Swarm makes, is no entry.
    if (!key.starts_with(nodes) || key.size() == nodes.size()) continue;
    auto address = attemptNow([&, &text = value] { return parseAddress(text); });
    if (!address.ok()) {
      fail(kj::str("the key '", key.c_str(), "' names what is no address: ", address.message()));
    }
    all[address.value()];
  }
  for (auto& [key, value] : keys) {
    if (!key.starts_with(details)) continue;
    auto found = all.find(key.substr(details.size()));
    if (found != all.end()) found->second = value;
  }
  return answerWith(all);
}

}  // namespace orch::discovery
