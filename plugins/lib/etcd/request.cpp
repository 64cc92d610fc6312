#include "request.h"

#include <kj/encoding.h>

namespace orch::etcd {

namespace {

// `"name":"…"`, in base64.
void addBytes(std::string& json, const char* name, std::string_view bytes) {
  auto coded = kj::encodeBase64(
      kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()), false);
  json.append("\"").append(name).append("\":\"");
  json.append(coded.begin(), coded.size()).append("\"");
}

void addNumber(std::string& json, const char* name, uint64_t number) {
  json.append(",\"").append(name).append("\":\"").append(std::to_string(number)).append("\"");
}

// `"name":"…"`, as it is.
void addText(std::string& json, const char* name, std::string_view text) {
  json.append("\"").append(name).append("\":\"");
  for (char c : text) {
    constexpr char DIGITS[] = "0123456789abcdef";
    auto byte = static_cast<unsigned char>(c);
    if (byte < ' ') {
      json.append("\\u00").append(1, DIGITS[byte >> 4]).append(1, DIGITS[byte & 15]);
      continue;
    }
    if (c == '"' || c == '\\') json.push_back('\\');
    json.push_back(c);
  }
  json.push_back('"');
}

void addUrls(std::string& json, std::string_view url) {
  json.append("\"peerURLs\":[\"").append(url).append("\"]");
}

void begin(std::string& list, const char* what) {
  if (!list.empty()) list.push_back(',');
  list.append(what);
}

void addCompare(std::string& list, std::string_view key, const char* target, const char* result) {
  begin(list, "{");
  addBytes(list, "key", key);
  list.append(",\"target\":\"")
      .append(target)
      .append("\",\"result\":\"")
      .append(result)
      .append("\"");
}

void addRange(std::string& list, std::string_view key) {
  begin(list, "{\"request_range\":{");
  addBytes(list, "key", key);
}

std::string rangeOf(std::string_view key, std::string_view end, uint64_t limit) {
  std::string json = "{";
  addBytes(json, "key", key);
  json.push_back(',');
  addBytes(json, "range_end", end);
  addNumber(json, "limit", limit);
  return json;
}

}  // namespace

std::string endOf(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (end.empty()) return std::string(1, '\0');  // etcd: to the last key
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

TxnRequest& TxnRequest::ifValue(std::string_view key, std::string_view value) {
  addCompare(compares, key, "VALUE", "EQUAL");
  compares.push_back(',');
  addBytes(compares, "value", value);
  compares.push_back('}');
  return *this;
}
TxnRequest& TxnRequest::ifMissing(std::string_view key) {
  addCompare(compares, key, "VERSION", "EQUAL");
  addNumber(compares, "version", 0);
  compares.push_back('}');
  return *this;
}
TxnRequest& TxnRequest::ifChangedAt(std::string_view key, uint64_t revision) {
  addCompare(compares, key, "MOD", "EQUAL");
  addNumber(compares, "mod_revision", revision);
  compares.push_back('}');
  return *this;
}
TxnRequest& TxnRequest::ifChangedAtLeast(std::string_view key, uint64_t revision) {
  if (revision == 0) return *this;
  addCompare(compares, key, "MOD", "GREATER");
  addNumber(compares, "mod_revision", revision - 1);
  compares.push_back('}');
  return *this;
}
TxnRequest& TxnRequest::ifLeased(std::string_view key, uint64_t lease) {
  addCompare(compares, key, "LEASE", "EQUAL");
  addNumber(compares, "lease", lease);
  compares.push_back('}');
  return *this;
}
TxnRequest& TxnRequest::thenPut(std::string_view key, std::string_view value) {
  begin(thens, "{\"request_put\":{");
  addBytes(thens, "key", key);
  thens.push_back(',');
  addBytes(thens, "value", value);
  thens.append("}}");
  return *this;
}
TxnRequest& TxnRequest::thenDelete(std::string_view key) {
  begin(thens, "{\"request_delete_range\":{");
  addBytes(thens, "key", key);
  thens.append("}}");
  return *this;
}
TxnRequest& TxnRequest::thenGet(std::string_view key) {
  addRange(thens, key);
  thens.append("}}");
  return *this;
}
TxnRequest& TxnRequest::thenRange(std::string_view key, std::string_view end, uint64_t limit) {
  begin(thens, "{\"request_range\":");
  thens.append(rangeOf(key, end, limit)).append("}}");
  return *this;
}
TxnRequest& TxnRequest::elsePut(std::string_view key, std::string_view value, uint64_t lease) {
  begin(elses, "{\"request_put\":{");
  addBytes(elses, "key", key);
  elses.push_back(',');
  addBytes(elses, "value", value);
  addNumber(elses, "lease", lease);
  elses.append("}}");
  return *this;
}
TxnRequest& TxnRequest::elseGet(std::string_view key) {
  addRange(elses, key);
  elses.append("}}");
  return *this;
}
TxnRequest& TxnRequest::elseLook(std::string_view key) {
  addRange(elses, key);
  elses.append(",\"keys_only\":true}}");
  return *this;
}

std::string TxnRequest::text() const {
  return "{\"compare\":[" + compares + "],\"success\":[" + thens + "],\"failure\":[" + elses + "]}";
}

std::string rangeRequest(std::string_view key, std::string_view end, uint64_t limit,
                         uint64_t revision) {
  auto json = rangeOf(key, end, limit);
  if (revision > 0) addNumber(json, "revision", revision);
  return json + "}";
}

std::string oldestRequest(std::string_view key, std::string_view end, uint64_t limit) {
  return rangeOf(key, end, limit) +
         ",\"sort_target\":\"MOD\",\"sort_order\":\"ASCEND\",\"keys_only\":true}";
}

std::string newestRequest(std::string_view key, std::string_view end) {
  return rangeOf(key, end, 1) +
         ",\"sort_target\":\"MOD\",\"sort_order\":\"DESCEND\",\"keys_only\":true}";
}

std::string watchRequest(std::string_view prefix, uint64_t revision) {
  std::string json = "{\"create_request\":{";
  addBytes(json, "key", prefix);
  json.push_back(',');
  addBytes(json, "range_end", endOf(prefix));
  addNumber(json, "start_revision", revision);
  return json + ",\"fragment\":true}}";
}

std::string compactRequest(uint64_t revision) {
  return "{\"revision\":\"" + std::to_string(revision) + "\"}";
}

std::string loginRequest(std::string_view user, std::string_view password) {
  std::string json = "{";
  addText(json, "name", user);
  json.push_back(',');
  addText(json, "password", password);
  return json + "}";
}
std::string grantRequest(uint64_t seconds) {
  return "{\"TTL\":\"" + std::to_string(seconds) + "\"}";
}
std::string leaseRequest(uint64_t lease) { return "{\"ID\":\"" + std::to_string(lease) + "\"}"; }

std::string learnerRequest(std::string_view url) {
  std::string json = "{";
  addUrls(json, url);
  return json + ",\"isLearner\":true}";
}
std::string memberRequest(uint64_t id) { return leaseRequest(id); }
std::string memberRequest(uint64_t id, std::string_view url) {
  std::string json = "{\"ID\":\"" + std::to_string(id) + "\",";
  addUrls(json, url);
  return json + "}";
}
std::string alarmsRequest() { return "{\"action\":\"GET\"}"; }
std::string spaceRequest(uint64_t member) {
  return "{\"action\":\"DEACTIVATE\",\"alarm\":\"NOSPACE\",\"memberID\":\"" +
         std::to_string(member) + "\"}";
}

std::string transferRequest(uint64_t member) {
  return "{\"targetID\":\"" + std::to_string(member) + "\"}";
}

}  // namespace orch::etcd
