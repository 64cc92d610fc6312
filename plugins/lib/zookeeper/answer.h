// What a ZooKeeper answers, and the transactions that it is asked for, as plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orch::zookeeper {

// The library's own numbers; those that are not named here are possible too.
enum class Code : int {
  OK = 0,
  MARSHALLING = -5,
  BAD_ARGUMENTS = -8,
  NO_NODE = -101,
  NO_AUTH = -102,
  BAD_VERSION = -103,
  NODE_EXISTS = -110,
  NOT_EMPTY = -111,
  AUTH_FAILED = -115,
  LOST = -4,
};

// The connection or the session broke: what was asked may have been done, or may still be.
bool isLost(Code code);
// `no node`
std::string textOf(Code code);

struct Read {
  Code code = Code::LOST;
  std::string value;
  int32_t version = 0;    // of the value: counts its changes
  int64_t owner = 0;      // of an ephemeral node: the session
  int64_t changedAt = 0;  // zxid of the last change, which grows over the whole ensemble
};

struct Listing {
  Code code = Code::LOST;
  std::vector<std::string> names;  // in no order
};

struct Done {
  Code code = Code::LOST;
  // Of a transaction that failed: which of its operations did.
  size_t at = 0;
};

enum class Lives { FOR_EVER, WITH_SESSION };

// A transaction: all or nothing.
class Multi final {
 public:
  static constexpr int32_t ANY_VERSION = -1;

  Multi& check(std::string path, int32_t version);
  Multi& create(std::string path, std::string_view value, Lives lives = Lives::FOR_EVER);
  Multi& set(std::string path, std::string_view value, int32_t version = ANY_VERSION);
  Multi& remove(std::string path, int32_t version = ANY_VERSION);

  struct Op {
    enum class Kind { CHECK, CREATE, SET, REMOVE } kind;
    std::string path;
    std::string value;
    int32_t version = ANY_VERSION;
    Lives lives = Lives::FOR_EVER;
  };
  const std::vector<Op>& operations() const { return ops; }
  // What a server compares with its jute.maxbuffer, or a little more.
  size_t bytes() const { return size; }

 private:
  void add(Op op);
  std::vector<Op> ops;
  size_t size = 64;
};

}  // namespace orch::zookeeper
