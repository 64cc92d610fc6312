#include "decide/spec-meaning.h"

#include <capnp/dynamic.h>

#include <algorithm>
#include <span>

namespace orch::control::manager {

namespace {

// Fields that are left out wherever they are: tasks stay when they change.
using Except = std::span<const std::string_view>;
constexpr std::string_view TASKS_STAY[] = {"constraints", "filters", "tolerateDownMs"};

// Appends a value so that different ones give different texts. What is null reads as its default,
// so a default reads like nothing.
void append(std::string& out, capnp::DynamicValue::Reader value, Except except);

void appendStruct(std::string& out, capnp::DynamicStruct::Reader value, Except except) {
  out += '{';
  for (auto field : value.getSchema().getNonUnionFields()) {
    std::string_view name = field.getProto().getName().cStr();
    if (std::find(except.begin(), except.end(), name) != except.end()) continue;
    append(out, value.get(field), except);
  }
  KJ_IF_MAYBE (active, value.which()) {
    out += active->getProto().getName().cStr();
    append(out, value.get(*active), except);
  }
  out += '}';
}

void append(std::string& out, capnp::DynamicValue::Reader value, Except except) {
  switch (value.getType()) {
    case capnp::DynamicValue::BOOL:
      out += value.as<bool>() ? "1," : "0,";
      return;
    case capnp::DynamicValue::INT:
      out += std::to_string(value.as<int64_t>()) + ",";
      return;
    case capnp::DynamicValue::UINT:
      out += std::to_string(value.as<uint64_t>()) + ",";
      return;
    case capnp::DynamicValue::FLOAT:
      out += std::to_string(value.as<double>()) + ",";
      return;
    case capnp::DynamicValue::ENUM:
      out += std::to_string(value.as<capnp::DynamicEnum>().getRaw()) + ",";
      return;
    case capnp::DynamicValue::TEXT: {
      auto text = value.as<capnp::Text>();
      out += std::to_string(text.size()) + ":";
      out.append(text.begin(), text.size());
      return;
    }
    case capnp::DynamicValue::LIST: {
      auto list = value.as<capnp::DynamicList>();
      out += std::to_string(list.size()) + "[";
      for (auto element : list) append(out, element, except);
      out += ']';
      return;
    }
    case capnp::DynamicValue::STRUCT:
      return appendStruct(out, value.as<capnp::DynamicStruct>(), except);
    case capnp::DynamicValue::VOID:
      return;
    default:
      KJ_FAIL_ASSERT("a spec has no values of this kind");
  }
}

template <typename Reader>
void appendTyped(std::string& out, Reader value, Except except = {}) {
  append(out, capnp::DynamicValue::Reader(capnp::toDynamic(value)), except);
}

std::string meaningOf(schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports) {
  std::string meaning;
  appendTyped(meaning, spec, TASKS_STAY);
  appendTyped(meaning, ports);
  return meaning;
}

}  // namespace

std::string meaningOf(schema::ServiceSpec::Reader spec) {
  std::string meaning;
  appendTyped(meaning, spec);
  return meaning;
}

std::string taskMeaning(schema::ServiceSpec::Reader spec) {
  std::string meaning;
  appendTyped(meaning, spec.getTask(), TASKS_STAY);
  appendTyped(meaning, spec.getEndpoint());
  return meaning;
}

bool CurrentSpec::matches(const TaskReader& task) {
  if (task.getSpecVersion() == wantedBy.getSpecVersion()) return true;
  auto it = known.find(task.getSpecVersion());
  if (it == known.end()) {
    if (wanted.empty()) wanted = meaningOf(wantedBy.getSpec().getTask(), wantedBy.getPorts());
    bool same = meaningOf(task.getSpec(), task.getPorts()) == wanted;
    it = known.emplace(task.getSpecVersion(), same).first;
  }
  return it->second;
}

}  // namespace orch::control::manager
