#include "consul/request.h"

#include <kj/encoding.h>

#include <algorithm>

namespace orch::consul {

namespace {

void addText(std::string& json, std::string_view text) {
  json.push_back('"');
  for (char c : text) {
    if (c == '"' || c == '\\') json.push_back('\\');
    json.push_back(c);
  }
  json.push_back('"');
}

}  // namespace

void TxnRequest::begin(const char* verb, std::string_view key) {
  if (count++ > 0) ops.push_back(',');
  ops.append("{\"KV\":{\"Verb\":\"").append(verb).append("\",\"Key\":");
  addText(ops, key);
}
void TxnRequest::addValue(std::string_view value) {
  auto coded = kj::encodeBase64(
      kj::arrayPtr(reinterpret_cast<const kj::byte*>(value.data()), value.size()), false);
  ops.append(",\"Value\":\"").append(coded.begin(), coded.size()).append("\"");
  anyWrite = true;
}
void TxnRequest::addIndex(uint64_t index) {
  ops.append(",\"Index\":").append(std::to_string(index));
}
TxnRequest& TxnRequest::end() {
  ops.append("}}");
  return *this;
}

TxnRequest& TxnRequest::checkIndex(std::string_view key, uint64_t index) {
  begin("check-index", key);
  addIndex(index);
  return end();
}
TxnRequest& TxnRequest::create(std::string_view key, std::string_view value) {
  return replace(key, value, 0);
}
TxnRequest& TxnRequest::replace(std::string_view key, std::string_view value, uint64_t index) {
  begin("cas", key);
  addValue(value);
  addIndex(index);
  return end();
}
TxnRequest& TxnRequest::set(std::string_view key, std::string_view value) {
  begin("set", key);
  addValue(value);
  return end();
}
TxnRequest& TxnRequest::erase(std::string_view key, uint64_t index) {
  begin("delete-cas", key);
  addIndex(index);
  anyWrite = true;
  return end();
}
TxnRequest& TxnRequest::erase(std::string_view key) {
  begin("delete", key);
  anyWrite = true;
  return end();
}
TxnRequest& TxnRequest::get(std::string_view key) {
  begin("get", key);
  return end();
}
TxnRequest& TxnRequest::getTree(std::string_view prefix) {
  begin("get-tree", prefix);
  return end();
}
TxnRequest& TxnRequest::lock(std::string_view key, std::string_view value,
                             std::string_view session) {
  begin("lock", key);
  addValue(value);
  ops.append(",\"Session\":");
  addText(ops, session);
  return end();
}

bool isKey(std::string_view key) {
  bool controls = std::any_of(key.begin(), key.end(), [](unsigned char c) { return c < ' '; });
  if (key.empty() || controls) return false;
  return !kj::encodeUtf32(kj::arrayPtr(key.data(), key.size())).hadErrors;
}

std::string sessionRequest(std::string_view name, uint64_t ttlSeconds) {
  std::string json = "{\"Name\":";
  addText(json, name);
  return json + ",\"TTL\":\"" + std::to_string(ttlSeconds) +
         "s\",\"Behavior\":\"delete\",\"LockDelay\":\"0s\",\"NodeChecks\":[],\"Checks\":[]}";
}

}  // namespace orch::consul
