#include "zookeeper/answer.h"

#include <zookeeper/zookeeper.h>

namespace orch::zookeeper {

namespace {

// Header of an operation, lengths, version, flags and the access list of one entry with
// `auth`/`world` and `anyone`.
constexpr size_t OP_BYTES = 80;

constexpr int LOST_CODES[] = {ZCONNECTIONLOSS, ZOPERATIONTIMEOUT, ZINVALIDSTATE, ZSESSIONEXPIRED,
                              ZCLOSING,        ZSESSIONMOVED,     ZTHROTTLEDOP};

}  // namespace

bool isLost(Code code) {
  for (int lost : LOST_CODES) {
    if (static_cast<int>(code) == lost) return true;
  }
  return false;
}

std::string textOf(Code code) { return zerror(static_cast<int>(code)); }

void Multi::add(Op op) {
  size += OP_BYTES + op.path.size() + op.value.size();
  ops.push_back(std::move(op));
}
Multi& Multi::check(std::string path, int32_t version) {
  add(Op{Op::Kind::CHECK, std::move(path), {}, version});
  return *this;
}
Multi& Multi::create(std::string path, std::string_view value, Lives lives) {
  add(Op{Op::Kind::CREATE, std::move(path), std::string(value), ANY_VERSION, lives});
  return *this;
}
Multi& Multi::set(std::string path, std::string_view value, int32_t version) {
  add(Op{Op::Kind::SET, std::move(path), std::string(value), version});
  return *this;
}
Multi& Multi::remove(std::string path, int32_t version) {
  add(Op{Op::Kind::REMOVE, std::move(path), {}, version});
  return *this;
}

}  // namespace orch::zookeeper
