#include "lib/object-table.h"

#include <algorithm>

namespace orch::store {

namespace {
constexpr size_t PIECE_BYTES = 256 << 10;
}  // namespace

bool ObjectTable::has(const Name& name, uint64_t revision) const {
  auto found = objects.find(name);
  return found != objects.end() && found->second.revision >= revision;
}

void ObjectTable::put(Name name, StoredValue value) {
  newestRevision = std::max(newestRevision, value.revision);
  if (!has(name, value.revision)) objects.insert_or_assign(kj::mv(name), kj::mv(value));
}

void ObjectTable::erase(const Name& name, uint64_t revision) {
  if (!has(name, revision)) objects.erase(name);
}

Task<void> ObjectTable::deliver(schema::ObjectSink::Client sink) {
  kj::Promise<void> delivered = kj::READY_NOW;
  while (!objects.empty()) {
    auto end = objects.begin();
    uint32_t count = 0;
    for (size_t bytes = 0; end != objects.end() && bytes < PIECE_BYTES; ++end, ++count) {
      bytes += end->first.first.size() + end->first.second.size() + end->second.value.size();
    }
    auto request = sink.objectsRequest();
    auto list = request.initObjects(count);
    for (uint32_t i = 0; i < count; ++i) {
      auto& [name, object] = *objects.begin();
      list[i].setKind(name.first.c_str());
      list[i].setKey(name.second.c_str());
      list[i].setRevision(object.revision);
      list[i].setValue(kj::arrayPtr(object.value.data(), object.value.size()).asBytes());
      objects.erase(objects.begin());
    }
    co_await delivered;
    delivered = request.send().ignoreResult().eagerlyEvaluate(nullptr);
  }
  co_await delivered;
}

}  // namespace orch::store
