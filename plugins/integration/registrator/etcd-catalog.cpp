#include "etcd-catalog.h"

#include <algorithm>
#include <map>

#include "etcd/request.h"
#include "orch/fail.h"

namespace orch::integration::registrator {

namespace {

using orch::etcd::TxnRequest;
constexpr const char* OWN_FOLDER = "/orch/registrator";

orch::etcd::TxnAnswer answerIn(const std::string& body) { return orch::etcd::readTxn(body); }

// Without the lease that may stand behind it.
std::string valueIn(const std::string& record) { return record.substr(0, record.find(' ')); }

// One label of a name in DNS.
bool isHostName(const std::string& id) {
  bool plain = std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
  return plain && !id.empty() && id.size() <= 63 && id.front() != '-' && id.back() != '-';
}

}  // namespace

std::string hostPortOf(const ServiceEntry& entry) {
  bool v6 = entry.address.find(':') != std::string::npos;
  return (v6 ? "[" + entry.address + "]" : entry.address) + ":" + std::to_string(entry.port);
}

EtcdCatalog::EtcdCatalog(Env& env, const std::vector<http::Endpoint>& endpoints,
                         const http::TlsFiles& files, kj::Duration timeout, EtcdRules rules)
    : rules(std::move(rules)), client(env, endpoints, files, timeout, "registry") {}

std::string EtcdCatalog::folderOf(const std::string& nodeId) const {
  return OWN_FOLDER + rules.path + "/" + nodeId + "/";
}

std::string EtcdCatalog::placeOf(const ServiceEntry& entry) const {
  return entry.name + "/" + entry.id;
}

// A key of another lease has to be written again.
std::string EtcdCatalog::recordOf(const ServiceEntry& entry) const {
  return rules.ttlMs == 0 ? valueOf(entry) : valueOf(entry) + " " + std::to_string(lease);
}

std::string EtcdCatalog::valueOf(const ServiceEntry& entry) const {
  if (!rules.skydns) return hostPortOf(entry);
  return "{\"host\":\"" + entry.address + "\",\"port\":" + std::to_string(entry.port) + "}";
}

Task<Catalog::Records> EtcdCatalog::list() {
  if (rules.ttlMs > 0 && lease == 0) {
    auto granted = co_await client.grant((rules.ttlMs + 999) / 1000);
    lease = granted;
  }
  auto own = folderOf(rules.nodeId);
  auto all = rules.path + "/";
  TxnRequest txn;
  txn.thenRange(own, orch::etcd::endOf(own), MAX_KEYS);
  txn.thenRange(all, orch::etcd::endOf(all), MAX_KEYS);
  auto body = co_await client.demand("/v3/kv/txn", txn.text());
  auto answer = answerIn(body);
  answer.at(1);  // fails unless both are there
  if (answer.ranges[1].more) {
    fail(kj::str(client.name(), " has more than ", MAX_KEYS, " keys below '", all.c_str(),
                 "'; register in another path"));
  }
  std::map<std::string, std::string> values;
  for (auto& kv : answer.ranges[1].kvs) values[kv.key] = kv.value;
  Records records;
  for (auto& kv : answer.ranges[0].kvs) {
    auto place = kv.key.substr(own.size());
    // One that somebody has changed or taken away is written again.
    records[place] = values[keyOf(place)] == valueIn(kv.value) ? kv.value : std::string();
  }
  co_return kj::mv(records);
}

Task<std::string> EtcdCatalog::put(ServiceEntry entry) {
  if (rules.skydns && !isHostName(entry.id)) {
    co_return std::string(
        "its id is no host name; set one that is, as SERVICE_ID=redis-{{.Task.Slot}}");
  }
  auto place = placeOf(entry);
  TxnRequest looking;
  looking.thenGet(keyOf(place)).thenGet(folderOf(rules.nodeId) + place);
  auto body = co_await client.demand("/v3/kv/txn", looking.text());
  auto there = answerIn(body);
  auto* key = there.at(0);
  auto* own = there.at(1);
  if (key != nullptr && own == nullptr) {
    co_return std::string(
        "there is a key of that name that this node has not written; it is left alone");
  }
  auto changedAt = key == nullptr ? 0 : key->modRevision;
  co_return co_await write(place, valueOf(entry), changedAt);
}

Task<std::string> EtcdCatalog::write(std::string place, std::string value, uint64_t changedAt) {
  auto key = keyOf(place), own = folderOf(rules.nodeId) + place;
  TxnRequest txn;
  if (rules.ttlMs == 0) {
    txn.ifChangedAt(key, changedAt).thenPut(key, value).thenPut(own, value);
  } else {
    auto leased = value + " " + std::to_string(lease);
    txn.ifValue(key, value).ifLeased(key, lease).ifValue(own, leased).ifLeased(own, lease);
    txn.elsePut(key, value, lease).elsePut(own, leased, lease);
  }
  auto reply = co_await client.ask("/v3/kv/txn", txn.text());
  if (reply.kind == orch::etcd::Reply::Kind::LOST) fail(kj::str(reply.reason.c_str()));
  if (reply.kind == orch::etcd::Reply::Kind::REFUSED) {
    if (orch::etcd::Client::isLeaseGone(reply.refusal)) lease = 0;
    fail(kj::str(client.refusalText(reply.refusal).c_str()));
  }
  bool raced = rules.ttlMs == 0 && !answerIn(reply.body).succeeded;
  if (raced) fail(kj::str("somebody else has written the key '", key.c_str(), "' just then"));
  co_return std::string();
}

Task<void> EtcdCatalog::removeOf(std::string nodeId, std::string place) {
  auto own = folderOf(nodeId) + place;
  TxnRequest txn;
  txn.ifChangedAtLeast(own, 1).thenDelete(keyOf(place)).thenDelete(own);
  co_await client.demand("/v3/kv/txn", txn.text());
}

Task<void> EtcdCatalog::remove(std::string place) { return removeOf(rules.nodeId, place); }

Task<void> EtcdCatalog::forgetNode(std::string nodeId) {
  auto folder = folderOf(nodeId);
  TxnRequest txn;
  txn.thenRange(folder, orch::etcd::endOf(folder), MAX_KEYS);
  auto body = co_await client.demand("/v3/kv/txn", txn.text());
  auto answer = answerIn(body);
  answer.at(0);
  for (auto& kv : answer.ranges[0].kvs) {
    auto place = kv.key.substr(folder.size());
    co_await removeOf(nodeId, place);
  }
}

Task<void> EtcdCatalog::renew(std::vector<std::string>) {
  bool there = co_await client.renew(lease);
  if (there) co_return;
  lease = 0;
  fail(kj::str("its keys have been taken away: nobody has renewed them in time"));
}

}  // namespace orch::integration::registrator
