#include "answer.h"

#include <boost/json.hpp>
#include <kj/encoding.h>

#include <algorithm>
#include <charconv>

#include "orch/fail.h"

namespace orch::etcd {

namespace {

namespace json = boost::json;

[[noreturn]] void failAnswer(kj::StringPtr what) {
  fail(kj::str("answers what no etcd does: ", what));
}

// A parsed text in memory of its own.
class Document final {
 public:
  explicit Document(std::string_view text) {
    json::error_code error;
    root = json::parse(json::string_view(text.data(), text.size()), error, &memory);
    if (error) failAnswer(kj::str("no JSON (", error.message().c_str(), ")"));
    if (!root.is_object()) failAnswer("no object");
  }
  const json::object& get() const { return root.get_object(); }

 private:
  json::monotonic_resource memory;
  json::value root;
};

const json::object* objectAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr || value->is_null()) return nullptr;
  if (!value->is_object()) failAnswer(kj::str("'", name, "' is no object"));
  return &value->get_object();
}

const json::array* arrayAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr || value->is_null()) return nullptr;
  if (!value->is_array()) failAnswer(kj::str("'", name, "' is no list"));
  return &value->get_array();
}

bool flagAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

// 64-bit numbers are texts in the gateway's JSON.
uint64_t numberAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr) return 0;
  uint64_t number = 0;
  if (value->is_string()) {
    auto& text = value->get_string();
    auto end = text.data() + text.size();
    auto read = std::from_chars(text.data(), end, number);
    if (read.ec == std::errc() && read.ptr == end) return number;
  } else if (value->is_int64() && value->get_int64() >= 0) {
    return static_cast<uint64_t>(value->get_int64());
  } else if (value->is_uint64()) {
    return value->get_uint64();
  }
  failAnswer(kj::str("'", name, "' is no number"));
}

std::string textAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return std::string(value->get_string().data(), value->get_string().size());
}

std::string bytesAt(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  if (value == nullptr) return {};
  if (!value->is_string()) failAnswer(kj::str("'", name, "' is no text"));
  auto& text = value->get_string();
  auto decoded = kj::decodeBase64(kj::arrayPtr(text.data(), text.size()));
  if (decoded.hadErrors) failAnswer(kj::str("'", name, "' is no base64"));
  return std::string(decoded.asChars().begin(), decoded.size());
}

Header headerOf(const json::object& from) {
  Header header;
  if (auto* found = objectAt(from, "header")) {
    header.clusterId = numberAt(*found, "cluster_id");
    header.revision = numberAt(*found, "revision");
  }
  return header;
}

KeyValue keyValueOf(const json::object& from) {
  return KeyValue{bytesAt(from, "key"), bytesAt(from, "value"), numberAt(from, "create_revision"),
                  numberAt(from, "mod_revision")};
}

const json::object& itemOf(const json::value& value) {
  if (!value.is_object()) failAnswer("a list with others than objects");
  return value.get_object();
}

RangeAnswer rangeOfAnswer(const json::object& from) {
  RangeAnswer range;
  range.header = headerOf(from);
  range.count = numberAt(from, "count");
  range.more = flagAt(from, "more");
  if (auto* kvs = arrayAt(from, "kvs")) {
    range.kvs.reserve(kvs->size());
    for (auto& kv : *kvs) range.kvs.push_back(keyValueOf(itemOf(kv)));
  }
  return range;
}

}  // namespace

const KeyValue* TxnAnswer::at(size_t index) const {
  if (index >= ranges.size()) failAnswer("fewer results than operations");
  return ranges[index].kvs.empty() ? nullptr : &ranges[index].kvs[0];
}

RangeAnswer readRange(std::string_view text) {
  Document document(text);
  return rangeOfAnswer(document.get());
}

TxnAnswer readTxn(std::string_view text) {
  Document document(text);
  TxnAnswer answer;
  answer.header = headerOf(document.get());
  if (answer.header.revision == 0) failAnswer("no revision");
  answer.succeeded = flagAt(document.get(), "succeeded");
  if (auto* responses = arrayAt(document.get(), "responses")) {
    for (auto& response : *responses) {
      auto* range = objectAt(itemOf(response), "response_range");
      answer.ranges.push_back(range == nullptr ? RangeAnswer() : rangeOfAnswer(*range));
    }
  }
  return answer;
}

WatchMessage readWatch(std::string_view text) {
  Document document(text);
  WatchMessage message;
  if (auto* error = objectAt(document.get(), "error")) {
    message.canceled = true;
    message.reason = textAt(*error, "message");
    return message;
  }
  auto* result = objectAt(document.get(), "result");
  if (result == nullptr) failAnswer("neither 'result' nor 'error'");
  message.canceled = flagAt(*result, "canceled");
  message.compactRevision = numberAt(*result, "compact_revision");
  message.reason = textAt(*result, "cancel_reason");
  message.fragment = flagAt(*result, "fragment");
  if (auto* events = arrayAt(*result, "events")) {
    for (auto& item : *events) {
      auto& event = itemOf(item);
      auto* kv = objectAt(event, "kv");
      if (kv == nullptr) failAnswer("an event without 'kv'");
      message.events.push_back(WatchEvent{textAt(event, "type") == "DELETE", keyValueOf(*kv)});
    }
  }
  return message;
}

uint64_t readGrant(std::string_view text) {
  Document document(text);
  auto lease = numberAt(document.get(), "ID");
  if (lease == 0) failAnswer("no lease");
  return lease;
}

bool readKeepAlive(std::string_view text) {
  Document document(text);
  auto* result = objectAt(document.get(), "result");
  if (result == nullptr) failAnswer("no 'result'");
  // A lease that is gone has no time to live: etcd leaves out what is 0.
  return numberAt(*result, "TTL") > 0;
}

std::string readLogin(std::string_view text) {
  Document document(text);
  auto token = textAt(document.get(), "token");
  for (char c : token) {
    if (c <= ' ' || c > '~') token.clear();
  }
  if (token.empty()) failAnswer("no token");
  return token;
}

Refusal readRefusal(std::string_view text) {
  Document document(text);
  Refusal refusal;
  auto& root = document.get();
  refusal.code = static_cast<int>(numberAt(root, "code"));
  refusal.message = textAt(root, "message");
  if (refusal.message.empty()) refusal.message = textAt(root, "error");
  return refusal;
}

std::vector<Member> readMembers(std::string_view text) {
  Document document(text);
  std::vector<Member> members;
  auto* list = arrayAt(document.get(), "members");
  if (list == nullptr) failAnswer("no 'members'");
  for (auto& value : *list) {
    auto& item = itemOf(value);
    Member member;
    member.id = numberAt(item, "ID");
    member.name = textAt(item, "name");
    member.learner = flagAt(item, "isLearner");
    auto* urls = arrayAt(item, "peerURLs");
    bool known = urls != nullptr && !urls->empty() && urls->front().is_string();
    if (known) member.url = urls->front().get_string().c_str();
    members.push_back(kj::mv(member));
  }
  return members;
}

Status readStatus(std::string_view text) {
  Document document(text);
  auto& root = document.get();
  Status status;
  if (auto* header = objectAt(root, "header")) {
    status.member = numberAt(*header, "member_id");
    status.revision = numberAt(*header, "revision");
  }
  status.leader = numberAt(root, "leader");
  status.learner = flagAt(root, "isLearner");
  status.databaseBytes = numberAt(root, "dbSize");
  status.usedBytes = numberAt(root, "dbSizeInUse");
  return status;
}

std::vector<Alarm> readAlarms(std::string_view text) {
  Document document(text);
  std::vector<Alarm> alarms;
  if (auto* list = arrayAt(document.get(), "alarms")) {
    for (auto& value : *list) {
      auto& item = itemOf(value);
      alarms.push_back(Alarm{numberAt(item, "memberID"), textAt(item, "alarm")});
    }
  }
  return alarms;
}

// One line a member: `etcd_network_active_peers{Local="1",Remote="a"} 1`.
std::set<uint64_t> readConnected(std::string_view metrics) {
  constexpr std::string_view NAME = "etcd_network_active_peers{", REMOTE = "Remote=\"";
  std::set<uint64_t> found;
  while (!metrics.empty()) {
    auto line = metrics.substr(0, metrics.find('\n'));
    metrics.remove_prefix(std::min(line.size() + 1, metrics.size()));
    auto remote = line.find(REMOTE), value = line.rfind("} ");
    bool known = line.starts_with(NAME) && remote != line.npos && value != line.npos;
    if (!known || line.substr(value + 2) == "0") continue;
    line.remove_prefix(remote + REMOTE.size());
    uint64_t id = 0;
    auto end = line.data() + line.size();
    auto read = std::from_chars(line.data(), end, id, 16);
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '"') found.insert(id);
  }
  return found;
}

LogLine readLogLine(std::string_view line) {
  LogLine read{"", std::string(line)};
  json::error_code error;
  auto value = json::parse(json::string_view(line.data(), line.size()), error);
  if (error || !value.is_object()) return read;
  auto& root = value.get_object();
  read.level = textAt(root, "level");
  read.text = textAt(root, "msg");
  auto reason = textAt(root, "error");
  if (!reason.empty()) read.text += ": " + reason;
  return read;
}

}  // namespace orch::etcd
