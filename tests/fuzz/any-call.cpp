#include "any-call.h"

#include <kj/debug.h>

#include "orch/schema/objects.capnp.h"

namespace orch::fuzz {

namespace {

// What is passed for a capability: takes every call.
class Anything final : public capnp::DynamicCapability::Server {
 public:
  explicit Anything(capnp::InterfaceSchema schema) : capnp::DynamicCapability::Server(schema) {}
  kj::Promise<void> call(capnp::InterfaceSchema::Method,
                         capnp::CallContext<capnp::DynamicStruct, capnp::DynamicStruct>) override {
    return kj::READY_NOW;
  }
};

// Names that mean something somewhere.
constexpr const char* WORDS[] = {"",           "web",        "web-1",      "self",
                                 "fuzz",       "sim",        "sim:1",      "none",
                                 "bridge",     "a",          "A=1",        "busybox",
                                 "running",    "service",    "task",       "/etc/hosts",
                                 "../../",     "/no/such",   "node.id==x", "nginx:1.25",
                                 "sha256:00",  "10.0.0.0/8", "\xff\xfe",   "x@y",
                                 "cpu.weight", "exit=0",     "spread",     "scheduler.spread"};

// One that is accepted, so that what follows meets the rules behind the first.
void fillValid(schema::ServiceSpec::Builder spec, uint8_t choice) {
  spec.setName(choice % 2 == 0 ? "web" : "api");
  spec.getMode().initReplicated().setReplicas(choice % 5);
  auto task = spec.initTask();
  task.setRuntime("sim");
  task.initNetworks(1)[0].setName("none");
  task.initContainer().setImage("sim:1");
}

}  // namespace

void AnyCalls::add(capnp::DynamicCapability::Client target) {
  if (targets.size() < MAX_TARGETS) targets.push_back(kj::mv(target));
}

bool AnyCalls::next() {
  if (bytes.size() == 0) return false;
  auto& target = targets[byte() % targets.size()];
  auto methods = target.getSchema().getMethods();
  if (methods.size() == 0) return true;
  auto request = target.newRequest(methods[byte() % methods.size()]);
  fill(request, 0);
  sent.push_back(request.send()
                     .then([this](auto&& answer) { collect(answer); }, [](kj::Exception&&) {})
                     .eagerlyEvaluate(nullptr));
  return true;
}

uint8_t AnyCalls::byte() {
  if (bytes.size() == 0) return 0;
  auto first = bytes[0];
  bytes = bytes.slice(1, bytes.size());
  return first;
}

uint64_t AnyCalls::number() {
  auto kind = byte();
  switch (kind % 4) {
    case 0:
      return kind / 4;
    case 1:
      return uint64_t(0) - kind / 4;
    case 2:
      return uint64_t(1) << kind / 4;
    default: {
      uint64_t value = 0;
      for (int i = 0; i < 8; ++i) value = value << 8 | byte();
      return value;
    }
  }
}

std::string AnyCalls::text() {
  auto kind = byte();
  if (kind % 4 != 0) {
    auto place = kind % (kj::size(WORDS) + words.size());
    return place < kj::size(WORDS) ? WORDS[place] : words[place - kj::size(WORDS)];
  }
  if (kind == 128) return std::string(100'000, 'x');
  std::string made;
  for (int i = kind / 4; i > 0; --i) made += static_cast<char>(byte());
  return made;
}

capnp::Orphan<capnp::DynamicValue> AnyCalls::plain(capnp::Orphanage orphanage, capnp::Type type) {
  switch (type.which()) {
    case capnp::schema::Type::VOID:
      return capnp::VOID;
    case capnp::schema::Type::BOOL:
      return byte() % 2 == 0;
    case capnp::schema::Type::FLOAT32:
    case capnp::schema::Type::FLOAT64:
      return static_cast<double>(static_cast<int64_t>(number())) / 3;
    case capnp::schema::Type::TEXT:
      return orphanage.newOrphanCopy(capnp::Text::Reader(text().c_str()));
    case capnp::schema::Type::DATA: {
      auto value = text();
      return orphanage.newOrphanCopy(capnp::Data::Reader(kj::StringPtr(value.c_str()).asBytes()));
    }
    case capnp::schema::Type::ENUM: {
      // One more than there are: what a newer client might say.
      auto choices = type.asEnum().getEnumerants().size() + 1;
      return capnp::DynamicEnum(type.asEnum(), byte() % choices);
    }
    case capnp::schema::Type::INTERFACE:
      return orphanage.newOrphanCopy(
          capnp::DynamicCapability::Client(kj::heap<Anything>(type.asInterface())));
    case capnp::schema::Type::INT8:
      return static_cast<int8_t>(number());
    case capnp::schema::Type::INT16:
      return static_cast<int16_t>(number());
    case capnp::schema::Type::INT32:
      return static_cast<int32_t>(number());
    case capnp::schema::Type::INT64:
      return static_cast<int64_t>(number());
    case capnp::schema::Type::UINT8:
      return static_cast<uint8_t>(number());
    case capnp::schema::Type::UINT16:
      return static_cast<uint16_t>(number());
    case capnp::schema::Type::UINT32:
      return static_cast<uint32_t>(number());
    default:
      return number();
  }
}

void AnyCalls::fill(capnp::DynamicList::Builder list, unsigned depth) {
  auto type = list.getSchema().getElementType();
  for (uint i = 0; i < list.size(); ++i) {
    if (type.isStruct()) {
      fill(list[i].as<capnp::DynamicStruct>(), depth + 1);
    } else if (!type.isList() && !type.isAnyPointer()) {
      list.adopt(i, plain(capnp::Orphanage::getForMessageContaining(list), type));
    }
  }
}

void AnyCalls::set(capnp::DynamicStruct::Builder target, capnp::StructSchema::Field field,
                   unsigned depth) {
  auto type = field.getType();
  if (type.isStruct()) {
    if (depth < MAX_DEPTH) fill(target.init(field).as<capnp::DynamicStruct>(), depth + 1);
  } else if (type.isList()) {
    fill(target.init(field, byte() % 4).as<capnp::DynamicList>(), depth + 1);
  } else if (!type.isAnyPointer()) {
    target.adopt(field, plain(capnp::Orphanage::getForMessageContaining(target), type));
  }
}

void AnyCalls::fill(capnp::DynamicStruct::Builder target, unsigned depth) {
  if (target.getSchema() == capnp::Schema::from<schema::ServiceSpec>()) {
    if (byte() % 4 != 0) {
      fillValid(target.as<schema::ServiceSpec>(), byte());
      if (byte() % 2 == 0) return;
    }
  }
  for (auto field : target.getSchema().getNonUnionFields()) {
    // Parameters mostly, what is in them now and then.
    if (depth == 0 || sometimes()) set(target, field, depth);
  }
  auto choices = target.getSchema().getUnionFields();
  if (choices.size() > 0 && sometimes()) {
    set(target, choices[byte() % choices.size()], depth);
  }
}

void AnyCalls::collect(capnp::DynamicStruct::Reader answer) {
  for (auto field : answer.getSchema().getFields()) {
    if (field.getType().isInterface() && answer.has(field)) {
      add(answer.get(field).as<capnp::DynamicCapability>());
    }
  }
}

}  // namespace orch::fuzz
