#include "answer.h"

#include <capnp/compat/json.h>

#include <algorithm>
#include <map>

#include "lib/address.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::token {

namespace {

using Json = capnp::json::Value;
using Role = schema::DiscoveryEntry::Role;
constexpr uint64_t LEAST_TTL_MS = 1000;
constexpr uint64_t MOST_TTL_MS = 86'400'000;

struct Seen {
  Role role = Role::UNKNOWN;
  std::string clusterDigest;
  std::string nodeId;
};

bool isPlainWord(kj::StringPtr text, size_t most) {
  return text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == ':' || c == '-';
         });
}

// Of our own hub's objects; what is not as it should be counts as not known.
std::string readObject(Json::Reader value, Seen& seen) {
  std::string address;
  for (auto field : value.getObject()) {
    if (!field.getValue().isString()) continue;
    auto text = field.getValue().getString();
    auto name = field.getName();
    if (name == "address") address = text.cStr();
    if (name == "role" && text == "manager") seen.role = Role::MANAGER;
    if (name == "role" && text == "worker") seen.role = Role::WORKER;
    if (name == "clusterDigest" && isPlainWord(text, 128)) seen.clusterDigest = text.cStr();
    if (name == "nodeId" && isPlainWord(text, 64)) seen.nodeId = text.cStr();
  }
  return address;
}

}  // namespace

Answer readAnswer(kj::StringPtr json) {
  capnp::MallocMessageBuilder scratch;
  auto value = scratch.initRoot<Json>();
  auto decoded = attemptNow([&] { capnp::JsonCodec().decodeRaw(json, value); });
  if (!decoded.ok() || !value.isArray()) fail(kj::str("answers what is no list of addresses"));
  auto items = value.getArray().asReader();
  if (items.size() > MAX_ENTRIES) fail(kj::str("answers more than ", MAX_ENTRIES, " addresses"));
  std::map<std::string, Seen> all;
  for (auto item : items) {
    Seen seen;
    std::string text;
    if (item.isString()) text = item.getString().cStr();
    if (item.isObject()) text = readObject(item, seen);
    auto address = attemptNow([&] { return parseAddress(text); });
    if (!address.ok()) fail(kj::str("answers an address that is none: ", address.message()));
    all[address.value()] = seen;
  }
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  auto list = message->initRoot<schema::DiscoverySink::EntriesParams>().initEntries(all.size());
  uint32_t i = 0;
  for (auto& [address, seen] : all) {
    auto entry = list[i++];
    entry.setAddress(address.c_str());
    entry.setRole(seen.role);
    if (!seen.clusterDigest.empty()) entry.setClusterDigest(seen.clusterDigest.c_str());
    if (!seen.nodeId.empty()) entry.setNodeId(seen.nodeId.c_str());
  }
  return message;
}

void checkEntry(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs) {
  auto address = entry.getAddress();
  if (!isAddress(std::string_view(address.begin(), address.size()))) {
    fail(kj::str("address is '", address, "'; accepted: host:port, in lower case"));
  }
  if (!isPlainWord(entry.getClusterDigest(), 128)) {
    fail(kj::str("clusterDigest has more than 128 bytes, or others than [A-Za-z0-9._:-]"));
  }
  if (!isPlainWord(entry.getNodeId(), 64)) {
    fail(kj::str("nodeId has more than 64 bytes, or others than [A-Za-z0-9._:-]"));
  }
  if (ttlMs < LEAST_TTL_MS || ttlMs > MOST_TTL_MS) {
    fail(kj::str("ttlMs is ", ttlMs, "; accepted: 1 second to 24 hours"));
  }
}

std::string registrationQuery(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs) {
  auto role = entry.getRole() == Role::MANAGER  ? "&role=manager"
              : entry.getRole() == Role::WORKER ? "&role=worker"
                                                : "";
  std::string query = "?ttl=" + std::to_string((ttlMs + 999) / 1000) + role;
  if (entry.getClusterDigest().size() > 0) {
    query += std::string("&digest=") + entry.getClusterDigest().cStr();
  }
  if (entry.getNodeId().size() > 0) query += std::string("&node=") + entry.getNodeId().cStr();
  return query;
}

}  // namespace orch::discovery::token
