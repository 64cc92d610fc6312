// What etcd's gateway answers, read from its JSON. Pure. Whatever the text is, the answer is a
// value or FAILED with a text that begins with "answers ".
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace orch::etcd {

struct Header {
  uint64_t clusterId = 0;
  uint64_t revision = 0;  // of the whole etcd, at the time of the answer
};

struct KeyValue {
  std::string key;
  std::string value;
  uint64_t createRevision = 0;
  uint64_t modRevision = 0;
};

struct RangeAnswer {
  Header header;
  std::vector<KeyValue> kvs;
  uint64_t count = 0;  // of the keys in the range, not only of those up to the limit
  bool more = false;
};

struct TxnAnswer {
  Header header;
  bool succeeded = false;
  std::vector<RangeAnswer> ranges;  // one for each operation; empty for those that are no ranges

  // The one key that operation `index` asked for; nullptr if it does not exist.
  const KeyValue* at(size_t index) const;
};

struct WatchEvent {
  bool deleted = false;
  KeyValue kv;
};

// One message of a watch.
struct WatchMessage {
  bool canceled = false;
  uint64_t compactRevision = 0;  // with `canceled`: what is asked for is gone up to here
  std::string reason;
  bool fragment = false;  // the events of its last revision may go on in the next message
  std::vector<WatchEvent> events;
};

// Of an answer that is no 200.
struct Refusal {
  int code = 0;  // of gRPC
  std::string message;
};

struct Member {
  uint64_t id = 0;
  std::string name;  // empty: it has never run
  std::string url;   // that the others reach it at
  bool learner = false;
};

// Of the member that was asked.
struct Status {
  uint64_t member = 0;
  uint64_t revision = 0;
  uint64_t leader = 0;  // 0: it knows of none
  bool learner = false;
  uint64_t databaseBytes = 0;
  uint64_t usedBytes = 0;  // of these
};

struct Alarm {
  uint64_t member = 0;
  std::string kind;  // `NOSPACE`, `CORRUPT`
};

// What a member writes to its log.
struct LogLine {
  std::string level;  // `warn`; empty: it is none of its lines
  std::string text;
};

RangeAnswer readRange(std::string_view json);
TxnAnswer readTxn(std::string_view json);
WatchMessage readWatch(std::string_view json);
// The lease that was granted.
uint64_t readGrant(std::string_view json);
// Whether the lease was renewed. If not, it is gone.
bool readKeepAlive(std::string_view json);
// The token of who has logged in.
std::string readLogin(std::string_view json);
Refusal readRefusal(std::string_view json);
// Of a list, and of each change.
std::vector<Member> readMembers(std::string_view json);
Status readStatus(std::string_view json);
std::vector<Alarm> readAlarms(std::string_view json);
// Of its metrics, which are Prometheus' text: the members that it has a connection with. Never
// fails.
std::set<uint64_t> readConnected(std::string_view metrics);
// Never fails: what cannot be read is the text.
LogLine readLogLine(std::string_view line);

}  // namespace orch::etcd
