#include "consul-kv-catalog.h"

#include <map>

#include "consul/request.h"
#include "etcd-catalog.h"
#include "orch/fail.h"

namespace orch::integration::registrator {

using KvTxn = orch::consul::TxnRequest;

ConsulKvCatalog::ConsulKvCatalog(Env& env, orch::consul::ClientSettings settings, std::string path,
                                 std::string nodeId)
    : path(std::move(path)), nodeId(std::move(nodeId)), client(env, std::move(settings)) {}

std::string ConsulKvCatalog::folderOf(const std::string& node) const {
  return "orch/registrator/" + path + "/" + node + "/";
}

std::string ConsulKvCatalog::placeOf(const ServiceEntry& entry) const {
  return entry.name + "/" + entry.id;
}

std::string ConsulKvCatalog::recordOf(const ServiceEntry& entry) const { return hostPortOf(entry); }

Task<Catalog::Records> ConsulKvCatalog::list() {
  auto own = folderOf(nodeId);
  KvTxn txn;
  txn.getTree(own).getTree(path + "/");
  auto answer = co_await client.transact(txn);
  std::map<std::string, std::string> values;
  for (auto& kv : answer.results) values[kv.key] = kv.value;
  Records records;
  for (auto& [key, value] : values) {
    if (!key.starts_with(own)) continue;
    auto place = key.substr(own.size());
    // One that somebody has changed or taken away is written again.
    auto there = values.find(keyOf(place));
    bool same = there != values.end() && there->second == value;
    records[place] = same ? value : std::string();
  }
  co_return kj::mv(records);
}

Task<std::string> ConsulKvCatalog::put(ServiceEntry entry) {
  auto place = placeOf(entry);
  auto key = keyOf(place), own = folderOf(nodeId) + place;
  if (!orch::consul::isKey(key)) co_return std::string("its name or its id can be no key");
  KvTxn looking;
  looking.getTree(key).getTree(own);
  auto there = co_await client.transact(looking);
  auto* known = there.of(key);
  if (known != nullptr && there.of(own) == nullptr) {
    co_return std::string(
        "there is a key of that name that this node has not written; it is left alone");
  }
  KvTxn txn;
  txn.replace(key, hostPortOf(entry), known == nullptr ? 0 : known->modifyIndex);
  txn.set(own, hostPortOf(entry));
  auto answer = co_await client.transact(txn);
  if (!answer.errors.empty()) {
    fail(kj::str("somebody else has written the key '", key.c_str(), "' just then"));
  }
  co_return std::string();
}

Task<void> ConsulKvCatalog::removeOf(std::string node, std::string place) {
  auto own = folderOf(node) + place;
  // Fails, with all of it, if it is not there.
  KvTxn txn;
  txn.get(own).erase(keyOf(place)).erase(own);
  co_await client.transact(txn);
}

Task<void> ConsulKvCatalog::remove(std::string place) { return removeOf(nodeId, std::move(place)); }

Task<void> ConsulKvCatalog::forgetNode(std::string node) {
  auto folder = folderOf(node);
  KvTxn txn;
  txn.getTree(folder);
  auto answer = co_await client.transact(txn);
  for (auto& kv : answer.results) {
    auto place = kv.key.substr(folder.size());
    co_await removeOf(node, place);
  }
}

}  // namespace orch::integration::registrator
