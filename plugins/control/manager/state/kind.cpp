#include "state/kind.h"

#include <capnp/serialize.h>

#include "config.capnp.h"
#include "state/events.h"
#include "state/state.h"

namespace orch::control::manager {

namespace {
template <typename T>
Words copyOf(capnp::FlatArrayMessageReader& message) {
  return toWords(message.getRoot<T>());
}

UnitKey unitOfCluster(const std::string& id, const Snapshot&) { return {0, id, {}}; }
UnitKey unitOfNode(const std::string& id, const Snapshot&) { return {1, id, {}}; }
UnitKey unitOfService(const std::string& id, const Snapshot&) { return {2, id, {}}; }
UnitKey unitOfAdmin(const std::string& id, const Snapshot&) { return {1, id, {}}; }
UnitKey unitOfNetwork(const std::string& id, const Snapshot&) { return {1, id, {}}; }
// One that is forgotten comes last.
UnitKey unitOfRequest(const std::string& id, const Snapshot& request) {
  if (!request) return {4, id, {}};
  return {2, text(request.as<RequestRecord>().getResultId()), {}};
}
UnitKey unitOfTask(const std::string&, const Snapshot& object) {
  TaskReader task(object);
  return {3, text(task.getServiceId()), task.slot()};
}

bool staysInSlot(const Snapshot& before, const Snapshot& after) {
  TaskReader was(before), is(after);
  return was.getNodeId() == is.getNodeId() && was.slot() == is.slot() &&
         was.getServiceId() == is.getServiceId();
}

constexpr KindTraits TRAITS[KINDS] = {
    {"cluster"_kj, ""_kj, copyOf<schema::Cluster>, nullptr, nullptr, nullptr, nullptr,
     unitOfCluster, nullptr},
    {"node"_kj, ""_kj, copyOf<schema::Node>, nullptr, nullptr, State::indexNode, nullptr,
     unitOfNode, publishNode},
    {"service"_kj, ""_kj, copyOf<schema::Service>, nullptr, nullptr, State::indexService, nullptr,
     unitOfService, publishService},
    {"request"_kj, ""_kj, copyOf<RequestRecord>, nullptr, nullptr, State::indexRequest, nullptr,
     unitOfRequest, nullptr},
    {"task"_kj, "task-status"_kj, copyOf<schema::Task>, copyOf<schema::TaskStatus>,
     TaskReader::split, State::indexTask, staysInSlot, unitOfTask, publishTask},
    {"admin"_kj, ""_kj, copyOf<schema::Admin>, nullptr, nullptr, nullptr, nullptr, unitOfAdmin,
     nullptr},
    {"network"_kj, ""_kj, copyOf<schema::Network>, nullptr, nullptr, State::indexNetwork, nullptr,
     unitOfNetwork, publishNetwork},
};
}  // namespace

const KindTraits& traitsOf(Kind kind) { return TRAITS[static_cast<size_t>(kind)]; }

kj::Maybe<RecordKind> recordNamed(kj::StringPtr name) {
  for (size_t i = 0; i < KINDS; ++i) {
    bool status = name.size() > 0 && TRAITS[i].statusName == name;
    if (status || TRAITS[i].name == name) return RecordKind{static_cast<Kind>(i), status};
  }
  return nullptr;
}

Words checkedWords(RecordKind record, kj::ArrayPtr<const kj::byte> bytes) {
  KJ_REQUIRE(bytes.size() % sizeof(capnp::word) == 0, "not a whole number of words");
  auto aligned = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(aligned.begin(), bytes.begin(), bytes.size());
  capnp::FlatArrayMessageReader message(aligned);
  auto& traits = traitsOf(record.kind);
  return record.status ? traits.copyStatus(message) : traits.copy(message);
}

}  // namespace orch::control::manager
