#include "kernel/check.h"

#include <capnp/compat/json.h>
#include <capnp/message.h>

#include <cstdio>

#include "kernel/config/settings.h"
#include "kernel/plugin/settings-check.h"
#include "orch/abi.h"

namespace orch::check {

namespace {

using capnp::json::Value;

// An object whose fields are set in order.
class JsonObject final {
 public:
  JsonObject(Value::Builder value, unsigned size) : fields(value.initObject(size)) {}

  Value::Builder field(kj::StringPtr name) {
    auto next = fields[used++];
    next.setName(name);
    return next.initValue();
  }
  void text(kj::StringPtr name, kj::StringPtr value) { field(name).setString(value); }
  void flag(kj::StringPtr name, bool value) { field(name).setBoolean(value); }
  void texts(kj::StringPtr name, const std::vector<std::string>& values) {
    auto list = field(name).initArray(values.size());
    for (unsigned i = 0; i < list.size(); ++i) list[i].setString(values[i].c_str());
  }

 private:
  capnp::List<Value::Field>::Builder fields;
  unsigned used = 0;
};

void print(Value::Reader value) {
  capnp::JsonCodec codec;
  codec.setPrettyPrint(true);
  printf("%s\n", codec.encodeRaw(value).cStr());
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (auto& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all.empty() ? "nothing" : all;
}

std::string settingsOf(const plugin::PluginFile& file) {
  config::SettingsSchema schema(file.schema, file.descriptor.settingsType);
  capnp::MallocMessageBuilder values;
  schema.defaults(values);
  return schema.toToml(values, true);
}

void printJson(const plugin::PluginFile& file) {
  auto& d = file.descriptor;
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<Value>();
  JsonObject object(root, 10);
  object.text("id", kj::str(d.kind, ".", d.name));
  object.text("version", d.pluginVersion);
  object.text("file", file.path.c_str());
  object.text("sdkVersion", d.sdkVersion);
  object.text("abiId", d.abiId);
  object.flag("runsInKernel", std::string(d.abiId) == ORCH_ABI_ID);
  object.texts("requires", file.requirements());
  object.texts("calls", file.calls());
  object.texts("capabilities", config::capabilityNames(d.capabilities));
  object.text("settings", settingsOf(file).c_str());
  print(root);
}

}  // namespace

Task<int> checkManifest(Env& env, const config::Manifest& manifest,
                        const plugin::PluginPlaces& places, const std::string& file, bool json) {
  auto found = plugin::checkEntries(manifest.plugins, places);
  co_await plugin::checkSettings(env, manifest.plugins, found, places, manifest.node);
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<Value>();
  JsonObject object(root, 3);
  object.text("file", file.c_str());
  object.flag("valid", true);
  auto list = object.field("plugins").initArray(found.size());
  for (unsigned i = 0; i < list.size(); ++i) {
    auto& entry = manifest.plugins[i];
    JsonObject item(list[i], 2);
    item.text("id", entry.id.c_str());
    if (found[i]) {
      item.text("file", found[i]->file.path.c_str());
    } else {
      item.field("file").setNull();
      if (!json) {
        printf("%s: it would wait: %s\n", entry.id.c_str(),
               plugin::whyMissing(entry, places).c_str());
      }
    }
  }
  if (json) {
    print(root);
  } else {
    auto count = manifest.plugins.size();
    printf("%s: valid, %zu plugin%s%s\n", file.c_str(), count, count == 1 ? "" : "s",
           count == 0 ? ": orchd would run and do nothing; add a [[plugin]]" : "");
  }
  co_return 0;
}

void printInvalid(const std::string& file, const std::string& problem) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<Value>();
  JsonObject object(root, 3);
  object.text("file", file.c_str());
  object.flag("valid", false);
  object.text("problem", problem.c_str());
  print(root);
}

int inspectPlugin(const std::string& path, bool json) {
  auto found = plugin::readPluginFile(path);
  if (json) {
    printJson(found);
    return 0;
  }
  auto& d = found.descriptor;
  printf("plugin    %s.%s %s\nfile      %s\nsdk       %s\nabi       %s%s\n", d.kind, d.name,
         d.pluginVersion, path.c_str(), d.sdkVersion, d.abiId,
         std::string(d.abiId) == ORCH_ABI_ID ? "" : " (not this orchd's: runs isolated)");
  printf("requires  %s\ncalls     %s\nrights    %s%s%s\n\nsettings:\n%s",
         joined(found.requirements()).c_str(), joined(found.calls()).c_str(),
         joined(config::capabilityNames(d.capabilities)).c_str(),
         (d.keeps & HOST_MOUNTS) != 0 ? "; the host's mounts" : "",
         (d.keeps & NEW_PRIVILEGES) != 0 ? "; new privileges" : "", settingsOf(found).c_str());
  return 0;
}

}  // namespace orch::check
