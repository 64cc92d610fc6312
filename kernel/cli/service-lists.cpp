#include "service-lists.h"

#include <kj/encoding.h>
#include <kj/filesystem.h>

#include <string_view>

#include "name.h"
#include "orch/attempt.h"
#include "orch/env.h"
#include "orch/fail.h"
#include "output.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr uint64_t MAX_ENV_FILE_BYTES = 1 << 20;

using Texts = kj::Vector<kj::String>;
using Parse = kj::String (*)(kj::StringPtr flag, kj::StringPtr text);
using KeyOf = std::string_view (*)(kj::StringPtr text);

std::string_view whole(kj::StringPtr text) { return {text.begin(), text.size()}; }
std::string_view beforeEquals(kj::StringPtr text) {
  return whole(text).substr(0, whole(text).find('='));
}

bool updating(const Arguments& args) {
  return args.command().path == kj::StringPtr("service update");
}

// The flag that adds to a list and the one that removes from it.
struct Flags {
  kj::String add;
  kj::String remove;
};
Flags flagsOf(const Arguments& args, kj::StringPtr name) {
  if (!updating(args)) return {kj::str("--", name), kj::String()};
  return {kj::str("--", name, "-add"), kj::str("--", name, "-rm")};
}
kj::ArrayPtr<const kj::String> removed(const Arguments& args, const Flags& flags) {
  return flags.remove.size() == 0 ? nullptr : args.values(flags.remove);
}

template <typename List>
Texts copyTexts(List list) {
  Texts texts;
  for (kj::StringPtr text : list) texts.add(kj::str(text));
  return texts;
}

template <typename F>
void keepIf(Texts& texts, F&& keep) {
  Texts kept;
  for (auto& text : texts) {
    if (keep(text)) kept.add(kj::mv(text));
  }
  texts = kj::mv(kept);
}

// Adds, replacing in place what has the same key.
void put(Texts& texts, kj::String entry, KeyOf keyOf) {
  for (auto& text : texts) {
    if (keyOf(text) == keyOf(entry)) {
      text = kj::mv(entry);
      return;
    }
  }
  texts.add(kj::mv(entry));
}

// One list of texts: what it was, minus, plus; `init` makes the new one.
template <typename Init>
void applyTexts(const Arguments& args, kj::StringPtr name, Texts texts, Parse parse, KeyOf keyOf,
                Init&& init) {
  auto flags = flagsOf(args, name);
  if (!args.given(flags.add) && removed(args, flags).size() == 0) return;
  for (auto& key : removed(args, flags)) {
    keepIf(texts, [&](const kj::String& text) { return keyOf(text) != whole(key) && text != key; });
  }
  for (auto& value : args.values(flags.add)) put(texts, parse(flags.add, value), keyOf);
  auto list = init(static_cast<unsigned>(texts.size()));
  for (size_t i = 0; i < texts.size(); ++i) list.set(static_cast<unsigned>(i), texts[i]);
}

template <typename Init>
void applyPairs(const Arguments& args, kj::StringPtr name,
                capnp::List<schema::KeyValue>::Reader before, Init&& init) {
  auto flags = flagsOf(args, name);
  if (!args.given(flags.add) && removed(args, flags).size() == 0) return;
  kj::Vector<Pair> pairs;
  auto gone = [&](kj::StringPtr key) {
    for (auto& one : removed(args, flags)) {
      if (one == key) return true;
    }
    return false;
  };
  for (auto pair : before) {
    if (!gone(pair.getKey())) pairs.add(Pair{kj::str(pair.getKey()), kj::str(pair.getValue())});
  }
  for (auto& value : args.values(flags.add)) {
    auto fresh = parseLabel(flags.add, value);
    bool replaced = false;
    for (auto& pair : pairs) {
      if (pair.key != fresh.key) continue;
      pair.value = kj::str(fresh.value);
      replaced = true;
    }
    if (!replaced) pairs.add(kj::mv(fresh));
  }
  auto list = init(static_cast<unsigned>(pairs.size()));
  for (size_t i = 0; i < pairs.size(); ++i) {
    list[static_cast<unsigned>(i)].setKey(pairs[i].key);
    list[static_cast<unsigned>(i)].setValue(pairs[i].value);
  }
}

template <typename T, typename List>
void setAll(List list, kj::Vector<capnp::Orphan<T>>& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    list.setWithCaveats(static_cast<unsigned>(i), items[i].getReader());
  }
}

void applyEnv(const Arguments& args, schema::ContainerSpec::Builder container,
              const LookUp& lookUp) {
  auto flags = flagsOf(args, "env");
  auto texts = copyTexts(container.getEnv().asReader());
  size_t before = texts.size();
  for (auto& key : removed(args, flags)) {
    keepIf(texts, [&](const kj::String& text) { return beforeEquals(text) != whole(key); });
  }
  if (!updating(args)) {
    for (auto& file : args.values("--env-file")) {
      auto content = attemptNow([&] {
        auto disk = newSystemFiles();
        auto opened = disk->getRoot().openFile(disk->getCurrentPath().evalNative(file));
        KJ_REQUIRE(opened->stat().size <= MAX_ENV_FILE_BYTES, "larger than 1 MiB");
        return opened->readAllText();
      });
      if (!content.ok()) badValue("--env-file", file, "a file that can be read, of at most 1 MiB");
      if (kj::encodeUtf32(content.value()).hadErrors)
        badValue("--env-file", file, "a file of UTF-8");
      for (auto& entry : parseEnvFile(file, content.value(), lookUp)) {
        put(texts, kj::mv(entry), beforeEquals);
      }
    }
  }
  for (auto& value : args.values(flags.add)) {
    auto entry = parseEnv(flags.add, value, lookUp);
    if (entry.size() > 0) put(texts, kj::mv(entry), beforeEquals);
  }
  if (texts.size() == 0 && before == 0) return;
  auto list = container.initEnv(static_cast<unsigned>(texts.size()));
  for (size_t i = 0; i < texts.size(); ++i) list.set(static_cast<unsigned>(i), texts[i]);
}

void applyMounts(const Arguments& args, schema::ContainerSpec::Builder container,
                 capnp::Orphanage orphanage) {
  auto flags = flagsOf(args, "mount");
  if (!args.given(flags.add) && removed(args, flags).size() == 0) return;
  kj::Vector<capnp::Orphan<schema::Mount>> mounts;
  for (auto mount : container.getMounts().asReader()) {
    bool keep = true;
    for (auto& target : removed(args, flags)) keep &= mount.getTarget() != target;
    if (keep) mounts.add(orphanage.newOrphanCopy(mount));
  }
  for (auto& value : args.values(flags.add)) {
    auto fresh = parseMount(flags.add, value, orphanage);
    auto target = kj::str(fresh.getReader().getTarget());
    capnp::Orphan<schema::Mount>* same = nullptr;
    for (auto& mount : mounts) {
      if (mount.getReader().getTarget() == target) same = &mount;
    }
    if (same != nullptr && !updating(args)) {
      badValue(flags.add, value, kj::str("each target once, not '", target, "' again"));
    }
    if (same != nullptr) {
      *same = kj::mv(fresh);
    } else {
      mounts.add(kj::mv(fresh));
    }
  }
  setAll<schema::Mount>(container.initMounts(static_cast<unsigned>(mounts.size())), mounts);
}

void applyUlimits(const Arguments& args, schema::ContainerSpec::Builder container,
                  capnp::Orphanage orphanage) {
  auto flags = flagsOf(args, "ulimit");
  if (!args.given(flags.add) && removed(args, flags).size() == 0) return;
  kj::Vector<capnp::Orphan<schema::Ulimit>> limits;
  auto put = [&](capnp::Orphan<schema::Ulimit> fresh) {
    for (auto& limit : limits) {
      if (limit.getReader().getName() != fresh.getReader().getName()) continue;
      limit = kj::mv(fresh);
      return;
    }
    limits.add(kj::mv(fresh));
  };
  for (auto limit : container.getUlimits().asReader()) {
    bool keep = true;
    for (auto& name : removed(args, flags)) keep &= limit.getName() != name;
    if (keep) put(orphanage.newOrphanCopy(limit));
  }
  for (auto& value : args.values(flags.add)) {
    auto fresh = orphanage.newOrphan<schema::Ulimit>();
    parseUlimit(flags.add, value, fresh.get());
    put(kj::mv(fresh));
  }
  setAll<schema::Ulimit>(container.initUlimits(static_cast<unsigned>(limits.size())), limits);
}

// `80` or `80/udp`, as --publish-rm wants it.
bool isTarget(kj::StringPtr text, schema::PortSpec::Reader port) {
  auto slash = whole(text).find('/');
  auto protocol = port.getProtocol() == schema::PortSpec::Protocol::UDP ? "udp" : "tcp";
  uint64_t number;
  if (!readDigits(whole(text).substr(0, slash), number) || number < 1 || number > 65535 ||
      (slash != std::string_view::npos && whole(text).substr(slash + 1) != "tcp" &&
       whole(text).substr(slash + 1) != "udp")) {
    badValue("--publish-rm", text, "a port in the container such as 80 or 80/udp");
  }
  return number == port.getTarget() &&
         (slash == std::string_view::npos || whole(text).substr(slash + 1) == protocol);
}

void applyPorts(const Arguments& args, schema::EndpointSpec::Builder endpoint,
                capnp::Orphanage orphanage) {
  auto flags = flagsOf(args, "publish");
  if (!args.given(flags.add) && removed(args, flags).size() == 0) return;
  Ports added;
  for (auto& value : args.values(flags.add)) parsePorts(flags.add, value, orphanage, added);
  Ports ports;
  for (auto port : endpoint.getPorts().asReader()) {
    bool keep = true;
    for (auto& target : removed(args, flags)) keep &= !isTarget(target, port);
    for (auto& fresh : added) {
      auto other = fresh.getReader();
      keep &= other.getTarget() != port.getTarget() || other.getProtocol() != port.getProtocol() ||
              (other.getPublished() != 0 && port.getPublished() != 0 &&
               other.getPublished() != port.getPublished());
    }
    if (keep) ports.add(orphanage.newOrphanCopy(port));
  }
  if (endpoint.getPorts().size() == 0) {
    auto any = orphanage.newOrphan<schema::PortSpec>();
    for (auto& target : removed(args, flags)) isTarget(target, any.getReader());
  }
  ports.addAll(std::make_move_iterator(added.begin()), std::make_move_iterator(added.end()));
  setAll<schema::PortSpec>(endpoint.initPorts(static_cast<unsigned>(ports.size())), ports);
}

// Both commands call these alike; on update, adding undoes dropping and the other way round.
void applyCapabilities(const Arguments& args, schema::ContainerSpec::Builder container) {
  if (!args.given("--cap-add") && !args.given("--cap-drop")) return;
  auto add = copyTexts(container.getCapAdd().asReader());
  auto drop = copyTexts(container.getCapDrop().asReader());
  auto move = [&](kj::StringPtr flag, Texts& to, Texts& from) {
    for (auto& value : args.values(flag)) {
      auto name = parseCapability(flag, value);
      keepIf(from, [&](const kj::String& text) { return text != name; });
      put(to, kj::mv(name), whole);
    }
  };
  move("--cap-drop", drop, add);
  move("--cap-add", add, drop);
  auto adds = container.initCapAdd(static_cast<unsigned>(add.size()));
  for (size_t i = 0; i < add.size(); ++i) adds.set(static_cast<unsigned>(i), add[i]);
  auto drops = container.initCapDrop(static_cast<unsigned>(drop.size()));
  for (size_t i = 0; i < drop.size(); ++i) drops.set(static_cast<unsigned>(i), drop[i]);
}

kj::String parseName(kj::StringPtr flag, kj::StringPtr text) {
  return parseWord(flag, text, "a name without spaces");
}

std::string_view hostName(kj::StringPtr text) {
  return whole(text).substr(0, whole(text).find(':'));
}

}  // namespace

void applyLists(const Arguments& args, schema::ServiceSpec::Builder spec, const LookUp& lookUp) {
  auto orphanage = capnp::Orphanage::getForMessageContaining(spec);
  auto task = spec.getTask();
  auto container = task.getContainer();
  auto placement = task.getPlacement();
  applyEnv(args, container, lookUp);
  applyMounts(args, container, orphanage);
  applyUlimits(args, container, orphanage);
  applyPorts(args, spec.getEndpoint(), orphanage);
  applyCapabilities(args, container);
  applyPairs(args, "label", spec.getLabels(), [&](unsigned n) { return spec.initLabels(n); });
  applyPairs(args, "container-label", container.getLabels(),
             [&](unsigned n) { return container.initLabels(n); });
  applyPairs(args, "sysctl", container.getSysctls(),
             [&](unsigned n) { return container.initSysctls(n); });
  applyTexts(args, "constraint", copyTexts(placement.getConstraints().asReader()), parseConstraint,
             whole, [&](unsigned n) { return placement.initConstraints(n); });
  applyTexts(args, "network", copyTexts(task.getNetworks().asReader()), parseName, whole,
             [&](unsigned n) { return task.initNetworks(n); });
  applyTexts(args, "dns", copyTexts(container.getDns().asReader()), parseIpAddress, whole,
             [&](unsigned n) { return container.initDns(n); });
  applyTexts(args, "dns-option", copyTexts(container.getDnsOptions().asReader()), parseName, whole,
             [&](unsigned n) { return container.initDnsOptions(n); });
  applyTexts(args, "dns-search", copyTexts(container.getDnsSearch().asReader()), parseName, whole,
             [&](unsigned n) { return container.initDnsSearch(n); });
  applyTexts(args, "group", copyTexts(container.getGroups().asReader()), parseName, whole,
             [&](unsigned n) { return container.initGroups(n); });

  // A host may have several addresses: adding replaces none, removing a name removes all.
  auto hosts = copyTexts(container.getHosts().asReader());
  auto flags = flagsOf(args, "host");
  for (auto& name : removed(args, flags)) {
    keepIf(hosts,
           [&](const kj::String& text) { return text != name && hostName(text) != whole(name); });
  }
  for (auto& value : args.values(flags.add)) put(hosts, parseHost(flags.add, value), whole);
  if (hosts.size() == 0 && container.getHosts().size() == 0) return;
  auto list = container.initHosts(static_cast<unsigned>(hosts.size()));
  for (size_t i = 0; i < hosts.size(); ++i) list.set(static_cast<unsigned>(i), hosts[i]);
}

}  // namespace orch::cli
