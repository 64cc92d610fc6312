#include "kernel/plugin/settings-check.h"

#include <capnp/message.h>
#include <dlfcn.h>
#include <kj/debug.h>

#include "kernel/config/settings.h"
#include "kernel/plugin/host-server.h"
#include "kernel/plugin/instance.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::plugin {

namespace {

// Knows the node and nothing else: whatever a plugin asks for comes later.
class NodeOnlyHost final : public schema::Host::Server {
 public:
  NodeOnlyHost(const config::NodeEntry& node, const std::string& instance)
      : node_(node), instance(instance) {}

  kj::Promise<void> node(NodeContext context) override {
    describeNode(context.getResults(), node_, {"", node_.name}, instance);
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    context.allowCancellation();
    return kj::NEVER_DONE;
  }
  kj::Promise<void> publish(PublishContext) override { return kj::READY_NOW; }
  kj::Promise<void> subscribe(SubscribeContext) override { return kj::READY_NOW; }
  kj::Promise<void> log(LogContext) override { return kj::READY_NOW; }

 private:
  const config::NodeEntry& node_;
  const std::string& instance;
};

std::string folderOfSdk() {
  Dl_info info;
  KJ_REQUIRE(dladdr(reinterpret_cast<void*>(&newSystemEnv), &info) != 0, "the SDK is in no file");
  std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/'));
}

Task<void> checkOne(Env& env, const config::PluginEntry& entry, const CheckedEntry& checked,
                    const PluginPlaces& places, const config::NodeEntry& node) {
  auto& descriptor = checked.file.descriptor;
  config::SettingsSchema schema(checked.file.schema, descriptor.settingsType);
  capnp::MallocMessageBuilder values;
  schema.read(std::get<config::Table>(entry.config.data), entry.id, values);
  PluginFile file;
  file.path = checked.file.path;
  file.descriptor = descriptor;
  file.identity = checked.file.identity;
  Rights none;
  none.env = entry.env;
  // As in the kernel, where orchd's own SDK is there already.
  if (checked.isolation == config::Isolation::KERNEL) {
    none.env.emplace_back("LD_LIBRARY_PATH", folderOfSdk());
  }
  auto made = newProcessInstance(env, kj::mv(file), places.hostProgram, kj::mv(none));
  auto instance = co_await kj::mv(made);
  auto configure = instance->plugin().configureRequest();
  configure.setHost(kj::heap<NodeOnlyHost>(node, entry.id));
  configure.getSettings().set(values.getRoot<capnp::AnyPointer>().asReader());
  auto limit = env.timer().afterDelay(entry.startDeadlineMs * kj::MILLISECONDS).then([]() {
    fail(kj::str("has not finished 'configure' in time (startDeadline)"));
  });
  auto answer = configure.send().ignoreResult().exclusiveJoin(kj::mv(limit));
  auto outcome = co_await attempt(kj::mv(answer));
  if (outcome.ok()) co_return;
  std::string reason = plainText(outcome.error()).cStr();
  if (outcome.error().getType() == kj::Exception::Type::DISCONNECTED) {
    auto gone = co_await instance->onGone();
    reason = kj::str(gone, " while its settings were checked").cStr();
  }
  fail(kj::str(located(entry, reason).c_str()));
}

}  // namespace

std::vector<std::optional<CheckedEntry>> checkEntries(
    const std::vector<config::PluginEntry>& entries, const PluginPlaces& places) {
  std::vector<std::optional<CheckedEntry>> found;
  for (auto& entry : entries) found.push_back(checkEntry(entry, places));
  return found;
}

Task<void> checkSettings(Env& env, const std::vector<config::PluginEntry>& entries,
                         const std::vector<std::optional<CheckedEntry>>& found,
                         const PluginPlaces& places, const config::NodeEntry& node) {
  kj::Vector<kj::Promise<void>> checks;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (found[i]) checks.add(checkOne(env, entries[i], *found[i], places, node));
  }
  co_await kj::joinPromises(checks.releaseAsArray());
}

}  // namespace orch::plugin
