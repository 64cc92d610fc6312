#include "orch/host.h"

#include <kj/debug.h>

namespace orch {

namespace {
void fill(capnp::List<schema::KeyValue>::Builder list, Fields fields) {
  uint32_t i = 0;
  for (auto& field : fields) {
    list[i].setKey(field.key);
    list[i].setValue(field.value);
    ++i;
  }
}
// Of a call that carries some short texts. Cap'n Proto would take 8 KiB for each.
constexpr capnp::MessageSize SHORT{48, 2};

// The kernel is gone: so is whoever would want to know.
void ignoreFailure(kj::Exception&&) {}
}  // namespace

Log::Log(schema::Host::Client host) : host(kj::mv(host)) {}

void Log::debug(kj::StringPtr message, Fields fields) {
  send(schema::LogLevel::DEBUG, message, fields);
}
void Log::info(kj::StringPtr message, Fields fields) {
  send(schema::LogLevel::INFO, message, fields);
}
void Log::warn(kj::StringPtr message, Fields fields) {
  send(schema::LogLevel::WARN, message, fields);
}
void Log::error(kj::StringPtr message, Fields fields) {
  send(schema::LogLevel::ERROR, message, fields);
}

void Log::send(schema::LogLevel at, kj::StringPtr message, Fields fields) {
  if (at < level) return;
  auto request = host.logRequest(SHORT);
  request.setLevel(at);
  request.setMessage(message);
  fill(request.initFields(fields.size()), fields);
  request.send().ignoreResult().detach(&ignoreFailure);
}

Host::Host(schema::Host::Client client, NodeFacts facts)
    : rpc(kj::mv(client)), facts(kj::mv(facts)), logger(rpc) {}

capnp::Capability::Client Host::serviceNamed(kj::StringPtr name) {
  auto request = rpc.serviceRequest(SHORT);
  request.setName(name);
  return request.send().getCapability();
}

void Host::publish(kj::StringPtr topic, kj::StringPtr subject, Fields attributes) {
  auto request = rpc.publishRequest(SHORT);
  request.setTopic(topic);
  request.setSubject(subject);
  fill(request.initAttributes(attributes.size()), attributes);
  request.send().ignoreResult().detach(&ignoreFailure);
}

}  // namespace orch
