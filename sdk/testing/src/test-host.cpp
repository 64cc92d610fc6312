#include "orch/testing/test-host.h"

#include <kj/debug.h>
#include <unistd.h>

#include <filesystem>

namespace orch::testing {

struct TestHost::State final : public kj::Refcounted {
  kj::String nodeId = kj::str("testnode00000000000000000");
  kj::String dataDir;
  kj::String runDir;
  kj::String instance;
  std::map<std::string, capnp::Capability::Client> services;
  std::vector<SeenEvent> events;
  std::vector<std::string> lines;
  std::map<uint64_t, schema::EventSink::Client> sinks;
  uint64_t subscriptions = 0;
};

namespace {

class SinkHolder final : public capnp::Capability::Server {
 public:
  SinkHolder(kj::Own<TestHost::State> state, uint64_t number)
      : state(kj::mv(state)), number(number) {}
  ~SinkHolder() noexcept(false) { state->sinks.erase(number); }
  DispatchCallResult dispatchCall(
      uint64_t, uint16_t, capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    KJ_UNIMPLEMENTED("a subscription has no methods");
  }

 private:
  kj::Own<TestHost::State> state;
  uint64_t number;
};

class HostServer final : public schema::Host::Server {
 public:
  explicit HostServer(kj::Own<TestHost::State> state) : state(kj::mv(state)) {}

  kj::Promise<void> node(NodeContext context) override {
    auto results = context.getResults();
    results.setId(state->nodeId);
    results.setName("test-node");
    results.setDataDir(state->dataDir);
    results.setRunDir(state->runDir);
    results.setVersion(ORCH_VERSION);
    results.setInstance(state->instance);
    return kj::READY_NOW;
  }
  kj::Promise<void> publish(PublishContext context) override {
    auto params = context.getParams();
    SeenEvent event{params.getTopic().cStr(), params.getSubject().cStr(), {}};
    for (auto attribute : params.getAttributes()) {
      event.attributes[attribute.getKey().cStr()] = attribute.getValue().cStr();
    }
    state->events.push_back(kj::mv(event));
    return kj::READY_NOW;
  }
  kj::Promise<void> subscribe(SubscribeContext context) override {
    auto number = ++state->subscriptions;
    state->sinks.emplace(number, context.getParams().getSink());
    context.getResults().setSubscription(kj::heap<SinkHolder>(kj::addRef(*state), number));
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    auto name = context.getParams().getName();
    auto found = state->services.find(name.cStr());
    KJ_REQUIRE(found != state->services.end(), "the test has no such service", name);
    context.getResults().setCapability(found->second);
    return kj::READY_NOW;
  }
  kj::Promise<void> services(ServicesContext context) override {
    kj::Vector<kj::StringPtr> names;
    auto prefix = context.getParams().getPrefix();
    for (auto& entry : state->services) {
      kj::StringPtr name = entry.first.c_str();
      if (name.startsWith(prefix)) names.add(name);
    }
    auto list = context.getResults().initNames(names.size());
    for (uint32_t i = 0; i < names.size(); ++i) list.set(i, names[i]);
    return kj::READY_NOW;
  }
  kj::Promise<void> log(LogContext context) override {
    static constexpr const char* NAMES[] = {"trace", "debug", "info", "warn", "error"};
    auto params = context.getParams();
    state->lines.push_back(std::string(NAMES[static_cast<unsigned>(params.getLevel())]) + " " +
                           params.getMessage().cStr());
    return kj::READY_NOW;
  }

 private:
  kj::Own<TestHost::State> state;
};

}  // namespace

TestHost::TestHost(kj::StringPtr dataDir, kj::StringPtr runDir, kj::StringPtr instance)
    : state(kj::refcounted<State>()) {
  state->dataDir = kj::str(dataDir);
  state->runDir = kj::str(runDir);
  state->instance = kj::str(instance);
}
TestHost::~TestHost() noexcept(false) {}
schema::Host::Client TestHost::client() { return kj::heap<HostServer>(kj::addRef(*state)); }
void TestHost::setNodeId(kj::StringPtr id) { state->nodeId = kj::str(id); }
void TestHost::addService(kj::StringPtr name, capnp::Capability::Client service) {
  state->services.insert_or_assign(std::string(name.cStr()), kj::mv(service));
}
kj::Promise<void> TestHost::emit(kj::StringPtr topic, kj::StringPtr subject) {
  kj::Vector<kj::Promise<void>> sent;
  for (auto& entry : state->sinks) {
    auto request = entry.second.eventsRequest();
    auto event = request.initEvents(1)[0];
    event.setTopic(topic);
    event.setSubject(subject);
    sent.add(request.send().ignoreResult());
  }
  return kj::joinPromises(sent.releaseAsArray());
}
const std::vector<SeenEvent>& TestHost::events() const { return state->events; }
const std::vector<std::string>& TestHost::logLines() const { return state->lines; }

TestFolder::TestFolder(kj::StringPtr testName)
    : folder(kj::str(std::filesystem::temp_directory_path().c_str(), "/orch-", testName, "-",
                     getpid())) {
  std::filesystem::remove_all(folder.cStr());
  std::filesystem::create_directories(folder.cStr());
}
TestFolder::~TestFolder() noexcept(false) {
  std::error_code ignored;  // clean-up: what is gone already is gone
  std::filesystem::remove_all(folder.cStr(), ignored);
}

}  // namespace orch::testing
