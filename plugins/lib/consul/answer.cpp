#include "consul/answer.h"

#include <boost/json.hpp>
#include <kj/encoding.h>

#include <charconv>

#include "orch/fail.h"

namespace orch::consul {

namespace {

namespace json = boost::json;

[[noreturn]] void failAnswer(kj::StringPtr what) {
  fail(kj::str("answers what no consul does: ", what));
}

// A parsed text in memory of its own.
class Document final {
 public:
  explicit Document(std::string_view text) {
    json::error_code error;
    root = json::parse(json::string_view(text.data(), text.size()), error, &memory);
    if (error) failAnswer(kj::str("no JSON (", error.message().c_str(), ")"));
  }
  const json::object& object() const {
    if (!root.is_object()) failAnswer("no object");
    return root.get_object();
  }
  const json::array& array() const {
    if (!root.is_array()) failAnswer("no list");
    return root.get_array();
  }

 private:
  json::monotonic_resource memory;
  json::value root;
};

const json::object& objectOf(const json::value& value) {
  if (!value.is_object()) failAnswer("a list with others than objects");
  return value.get_object();
}

const json::array* arrayAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr || value->is_null()) return nullptr;
  if (!value->is_array()) failAnswer(kj::str("'", name, "' is no list"));
  return &value->get_array();
}

uint64_t numberAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr) return 0;
  if (value->is_int64() && value->get_int64() >= 0) {
    return static_cast<uint64_t>(value->get_int64());
  }
  if (value->is_uint64()) return value->get_uint64();
  failAnswer(kj::str("'", name, "' is no number"));
}

std::string textAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr || value->is_null()) return {};
  if (!value->is_string()) failAnswer(kj::str("'", name, "' is no text"));
  return std::string(value->get_string().data(), value->get_string().size());
}

std::string bytesAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr || value->is_null()) return {};
  if (!value->is_string()) failAnswer(kj::str("'", name, "' is no text"));
  auto& text = value->get_string();
  auto decoded = kj::decodeBase64(kj::arrayPtr(text.data(), text.size()));
  if (decoded.hadErrors) failAnswer(kj::str("'", name, "' is no base64"));
  return std::string(decoded.asChars().begin(), decoded.size());
}

KeyValue keyValueOf(const json::object& from) {
  return KeyValue{textAt(from, "Key"), bytesAt(from, "Value"), textAt(from, "Session"),
                  numberAt(from, "ModifyIndex")};
}

}  // namespace

bool OpError::isMissing() const { return what.ends_with("doesn't exist"); }
bool OpError::isCondition() const {
  return isMissing() || what.ends_with("index is stale") || what.ends_with("\" exists") ||
         what.starts_with("failed index check");
}

const OpError* TxnAnswer::errorAt(size_t index) const {
  for (auto& error : errors) {
    if (error.index == index) return &error;
  }
  return nullptr;
}

const KeyValue* TxnAnswer::of(std::string_view key) const {
  for (auto& result : results) {
    if (result.key == key) return &result;
  }
  return nullptr;
}

TxnAnswer readTxn(std::string_view text) {
  Document document(text);
  auto& root = document.object();
  TxnAnswer answer;
  if (auto* errors = arrayAt(root, "Errors")) {
    for (auto& item : *errors) {
      auto& error = objectOf(item);
      answer.errors.push_back(OpError{numberAt(error, "OpIndex"), textAt(error, "What")});
    }
  }
  auto* results = arrayAt(root, "Results");
  if (results == nullptr && answer.errors.empty() && !root.contains("Results")) {
    failAnswer("neither 'Results' nor 'Errors'");
  }
  if (results == nullptr) return answer;
  answer.results.reserve(results->size());
  for (auto& item : *results) {
    auto* kv = objectOf(item).if_contains("KV");
    if (kv == nullptr) failAnswer("a result without 'KV'");
    answer.results.push_back(keyValueOf(objectOf(*kv)));
  }
  return answer;
}

std::vector<KeyValue> readKeys(std::string_view text) {
  Document document(text);
  std::vector<KeyValue> all;
  for (auto& item : document.array()) all.push_back(keyValueOf(objectOf(item)));
  return all;
}

std::vector<std::string> readNames(std::string_view text) {
  Document document(text);
  std::vector<std::string> all;
  auto& list = document.array();
  all.reserve(list.size());
  for (auto& item : list) {
    if (!item.is_string()) failAnswer("a name that is no text");
    all.emplace_back(item.get_string().data(), item.get_string().size());
  }
  return all;
}

std::string readSession(std::string_view text) {
  Document document(text);
  auto id = textAt(document.object(), "ID");
  if (id.empty()) failAnswer("no session");
  return id;
}

uint64_t readIndex(std::string_view text) {
  uint64_t number = 0;
  auto end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) failAnswer("no index");
  return number;
}

}  // namespace orch::consul
