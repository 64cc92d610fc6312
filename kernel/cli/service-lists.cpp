#include "service-lists.h"

#include <errno.h>
#include <kj/encoding.h>
#include <string.h>

#include <cctype>
#include <cstdio>
#include <string>
#include <string_view>

#include "orch/amounts.h"
#include "orch/fail.h"
#include "orch/generic-resources.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr size_t MAX_ENV_FILE_BYTES = 1 << 20;

kj::StringPtr asText(AnyReader item) { return item.as<capnp::Text>(); }

void addText(kj::StringPtr text, ListParsing& parsing) {
  parsing.items.add(parsing.orphanage.newOrphanCopy(capnp::Text::Reader(text)));
}

// ---- how an item is read ----

template <kj::String (*parse)(kj::StringPtr, kj::StringPtr)>
void readText(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  addText(parse(flag, text), parsing);
}

kj::String parseName(kj::StringPtr flag, kj::StringPtr text) {
  return parseWord(flag, text, "a name without spaces");
}

kj::String parseAny(kj::StringPtr, kj::StringPtr text) { return kj::str(text); }

void readPair(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  auto pair = parseLabel(flag, text);
  auto item = parsing.orphanage.newOrphan<schema::KeyValue>();
  item.get().setKey(pair.key);
  item.get().setValue(pair.value);
  parsing.items.add(kj::mv(item));
}

void readEnv(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  auto entry = parseEnv(flag, text, parsing.lookUp);
  if (entry.size() > 0) addText(entry, parsing);
}

void readEnvFile(kj::StringPtr flag, kj::StringPtr file, ListParsing& parsing) {
  std::string content(MAX_ENV_FILE_BYTES + 1, '\0');
  FILE* stream = fopen(file.cStr(), "re");
  size_t size = stream == nullptr ? 0 : fread(content.data(), 1, content.size(), stream);
  bool failed = stream == nullptr || ferror(stream) != 0;
  auto why = kj::str(strerror(errno));
  if (stream != nullptr) fclose(stream);
  if (failed)
    fail(kj::str("usage: invalid value '", file, "' for ", flag, ": expected a file: ", why));
  if (size > MAX_ENV_FILE_BYTES) badValue(flag, file, "a file of at most 1 MiB");
  content.resize(size);
  bool text = content.find('\0') == std::string::npos &&
              !kj::encodeUtf32(kj::arrayPtr(content.data(), content.size())).hadErrors;
  if (!text) badValue(flag, file, "a file of UTF-8 without zero bytes");
  for (auto& entry : parseEnvFile(file, content.c_str(), parsing.lookUp)) addText(entry, parsing);
}

void readMount(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  parsing.items.add(parseMount(flag, text, parsing.orphanage));
}

void readNetwork(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  parsing.items.add(parseNetwork(flag, text, parsing.orphanage));
}

void readUlimit(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  auto item = parsing.orphanage.newOrphan<schema::Ulimit>();
  parseUlimit(flag, text, item.get());
  parsing.items.add(kj::mv(item));
}

void readPorts(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  Ports ports;
  parsePorts(flag, text, parsing.orphanage, ports);
  for (auto& port : ports) parsing.items.add(kj::mv(port));
}

// `spread=node.labels.zone`: there is no other kind.
void readPreference(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  constexpr kj::StringPtr KIND = "spread="_kj;
  if (!text.startsWith(KIND) || text.size() == KIND.size()) {
    badValue(flag, text, "spread=node.labels.KEY or spread=engine.labels.KEY");
  }
  addText(text.slice(KIND.size()), parsing);
}

// For the filter of that name, before what is typed.
constexpr char AFFINITY[] = "affinity:";
void readAffinity(kj::StringPtr, kj::StringPtr text, ListParsing& parsing) {
  addText(kj::str(AFFINITY, text), parsing);
}

void readFilter(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  auto colon = text.findFirst(':').orDefault(0);
  if (colon == 0 || colon + 1 == text.size()) {
    badValue(flag, text, "a filter and what it is to check: NAME:EXPRESSION");
  }
  addText(text, parsing);
}

// `gpu=2`.
void readResource(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  auto equals = text.findFirst('=').orDefault(text.size());
  auto kind = kj::heapString(text.begin(), equals);
  if (equals == text.size() || !isResourceKind(view(kind))) {
    badValue(flag, text, kj::str("KIND=COUNT such as gpu=1, with ", RESOURCE_KINDS));
  }
  auto count = readDigits(view(text.slice(equals + 1)));
  if (!count || *count < 1 || *count > MAX_RESOURCE_AMOUNT) {
    badValue(flag, text,
             kj::str(kind, "=COUNT, with a number from 1 to ", MAX_RESOURCE_AMOUNT,
                     ": how many of them a task gets, not which"));
  }
  auto item = parsing.orphanage.newOrphan<schema::GenericResource>();
  item.get().setKind(kind);
  item.get().setAmount(*count);
  parsing.items.add(kj::mv(item));
}

// `db`, `db:healthy`; compose's words for the conditions are understood, too.
void readDependency(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing) {
  using Condition = schema::Dependency::Condition;
  struct Word {
    kj::StringPtr text;
    Condition condition;
  };
  constexpr Word WORDS[] = {{"started"_kj, Condition::STARTED},
                            {"healthy"_kj, Condition::HEALTHY},
                            {"completed"_kj, Condition::COMPLETED},
                            {"service_started"_kj, Condition::STARTED},
                            {"service_healthy"_kj, Condition::HEALTHY},
                            {"service_completed_successfully"_kj, Condition::COMPLETED}};
  auto colon = text.findFirst(':').orDefault(text.size());
  auto item = parsing.orphanage.newOrphan<schema::Dependency>();
  item.get().setService(kj::heapString(text.begin(), colon));
  bool known = colon == text.size();
  for (auto& word : WORDS) {
    if (known || text.slice(colon + 1) != word.text) continue;
    item.get().setCondition(word.condition);
    known = true;
  }
  if (!known || colon == 0) {
    badValue(flag, text, "SERVICE, SERVICE:started, SERVICE:healthy or SERVICE:completed");
  }
  parsing.items.add(kj::mv(item));
}

// ---- what it goes by ----

kj::String byText(AnyReader item) { return kj::str(asText(item)); }
kj::String byPreference(AnyReader item) { return kj::str("spread=", asText(item)); }
kj::String byAffinity(AnyReader item) {
  auto text = asText(item);
  return kj::str(text.startsWith(AFFINITY) ? text.slice(sizeof(AFFINITY) - 1) : text);
}
kj::String byName(AnyReader item) {
  auto text = asText(item);
  return kj::heapString(text.begin(), text.findFirst('=').orDefault(text.size()));
}
template <const char* field>
kj::String byField(AnyReader item) {
  return kj::str(item.as<capnp::DynamicStruct>().get(field).as<capnp::Text>());
}
constexpr char KEY_FIELD[] = "key";
constexpr char NAME_FIELD[] = "name";
constexpr char TARGET_FIELD[] = "target";
constexpr char SERVICE_FIELD[] = "service";
constexpr char KIND_FIELD[] = "kind";

// `gpu`, and as it was written, `gpu=2`.
bool removesResource(kj::StringPtr typed, AnyReader item) {
  auto kind = byField<KIND_FIELD>(item);
  return typed == kind || typed.startsWith(kj::str(kind, "="));
}

schema::PortSpec::Reader asPort(AnyReader item) {
  return item.as<capnp::DynamicStruct>().as<schema::PortSpec>();
}
kj::String byPort(AnyReader item) {
  auto port = asPort(item);
  bool udp = port.getProtocol() == schema::PortSpec::Protocol::UDP;
  return kj::str(port.getTarget(), udp ? "/udp" : "/tcp");
}
// `80` or `80/udp`.
bool removesPort(kj::StringPtr typed, AnyReader item) {
  std::string_view text(typed.begin(), typed.size());
  auto slash = text.find('/');
  auto protocol = slash == std::string_view::npos ? "" : text.substr(slash + 1);
  auto number = readDigits(text.substr(0, slash));
  bool good = number && *number >= 1 && *number <= 65535 &&
              (slash == std::string_view::npos || protocol == "tcp" || protocol == "udp");
  if (!good) badValue("--publish-rm", typed, "a port in the container such as 80 or 80/udp");
  return byPort(item) == typed || (protocol.empty() && *number == asPort(item).getTarget());
}
bool replacesPort(AnyReader fresh, AnyReader old) {
  auto inside = asPort(fresh);
  auto outside = asPort(old).getPublished();
  return byPort(fresh) == byPort(old) &&
         (inside.getPublished() == 0 || outside == 0 || inside.getPublished() == outside);
}

// A host may have several addresses: adding replaces none, removing a name removes all.
bool removesHost(kj::StringPtr typed, AnyReader item) {
  auto text = asText(item);
  return text == typed || text.startsWith(kj::str(typed, ":"));
}

// Files before what is given itself, which replaces it.
constexpr ServiceList LISTS[] = {
    {"--env-file", "FILE", "", "environment variables from a file", GROUP_CONTAINER,
     "task.container.env", readEnvFile, byName, nullptr, nullptr, true},
    {"-e,--env", "KEY=VALUE", "KEY", "an environment variable; KEY alone passes its value on",
     GROUP_FREQUENT, "task.container.env", readEnv, byName},
    {"-p,--publish", "PORT", "TARGET[/PROTOCOL]",
     "a port as 8080:80[/udp] or target=80,published=8080,mode=host", GROUP_FREQUENT,
     "endpoint.ports", readPorts, byPort, removesPort, replacesPort},
    {"--mount", "MOUNT", "TARGET", "a mount: source=PATH,target=PATH[,type=bind|volume|tmpfs]",
     GROUP_FREQUENT, "task.container.mounts", readMount, byField<TARGET_FIELD>, nullptr, nullptr,
     false, true},
    {"--network", "NETWORK[,alias=NAME]", "NETWORK", "a network to attach to", GROUP_FREQUENT,
     "task.networks", readNetwork, byField<NAME_FIELD>, nullptr, nullptr, false, true},
    {"--constraint", "CONSTRAINT", "CONSTRAINT",
     "where tasks may run: node.labels.zone==east; only preferred with ' ~ 10'", GROUP_FREQUENT,
     "task.placement.constraints", readText<parseAny>, byText},
    {"--affinity", "AFFINITY", "AFFINITY",
     "near a service or away from it: service==db, image!=redis", GROUP_PLACEMENT,
     "task.placement.filters", readAffinity, byAffinity},
    {"--filter", "NAME:EXPRESSION", "NAME:EXPRESSION", "what a filter plugin checks nodes for",
     GROUP_PLACEMENT, "task.placement.filters", readFilter, byText},
    {"--placement-pref", "spread=LABEL", "spread=LABEL",
     "a label whose values get as many tasks each: spread=node.labels.zone", GROUP_PLACEMENT,
     "task.placement.spreadOver", readPreference, byPreference},
    {"-l,--label", "KEY=VALUE", "KEY", "a label on the service", GROUP_FREQUENT, "labels", readPair,
     byField<KEY_FIELD>},
    {"--depends-on", "SERVICE[:CONDITION]", "SERVICE",
     "a service that has to be started (or healthy, or completed) first: db:healthy", GROUP_RESTART,
     "dependsOn", readDependency, byField<SERVICE_FIELD>, nullptr, nullptr, false, true},
    {"--container-label", "KEY=VALUE", "KEY", "a label on the containers", GROUP_CONTAINER,
     "task.container.labels", readPair, byField<KEY_FIELD>},
    {"--sysctl", "KEY=VALUE", "KEY", "a kernel parameter", GROUP_CONTAINER,
     "task.container.sysctls", readPair, byField<KEY_FIELD>},
    {"--ulimit", "NAME=SOFT[:HARD]", "NAME", "a limit such as nofile=1024:2048", GROUP_CONTAINER,
     "task.container.ulimits", readUlimit, byField<NAME_FIELD>},
    {"--generic-resource", "KIND=COUNT", "KIND",
     "what each task has to itself of the node's [node] resources: gpu=1", GROUP_RESOURCES,
     "task.resources.generic", readResource, byField<KIND_FIELD>, removesResource, nullptr, false,
     true},
    {"--group", "GROUP", "GROUP", "a supplementary group", GROUP_CONTAINER, "task.container.groups",
     readText<parseName>, byText},
    {"--host", "NAME:ADDRESS", "NAME[:ADDRESS]", "a line for /etc/hosts", GROUP_NETWORK,
     "task.container.hosts", readText<parseName>, byText, removesHost},
    {"--dns", "ADDRESS", "ADDRESS", "a name server", GROUP_NETWORK, "task.container.dns",
     readText<parseName>, byText},
    {"--dns-option", "OPTION", "OPTION", "an option of the resolver", GROUP_NETWORK,
     "task.container.dnsOptions", readText<parseName>, byText},
    {"--dns-search", "DOMAIN", "DOMAIN", "a search domain", GROUP_NETWORK,
     "task.container.dnsSearch", readText<parseName>, byText},
};

bool isRemovedBy(const ServiceList& list, kj::StringPtr typed, AnyReader item) {
  if (list.removes != nullptr) return list.removes(typed, item);
  return list.key(item) == typed ||
         (item.getType() == capnp::DynamicValue::TEXT && asText(item) == typed);
}

void put(const ServiceList& list, kj::StringPtr flag, kj::StringPtr typed, bool create,
         ListItem fresh, ListItems& items) {
  auto reader = fresh.getReader();
  for (auto& item : items) {
    auto old = item.getReader();
    bool same =
        list.replaces != nullptr ? list.replaces(reader, old) : list.key(reader) == list.key(old);
    if (!same) continue;
    if (create && list.once) {
      badValue(flag, typed, kj::str("each one once, not '", list.key(old), "' again"));
    }
    item = kj::mv(fresh);
    return;
  }
  items.add(kj::mv(fresh));
}

void applyList(const Arguments& args, const ServiceList& list, schema::ServiceSpec::Builder spec,
               const LookUp& lookUp, kj::Vector<kj::String>& absent) {
  bool create = args.command().path == kj::StringPtr("service create");
  if (list.createOnly && !create) return;
  kj::Vector<kj::String> storage;
  auto name = namesOf(Option{list.names}, storage).back();
  auto flag = create ? kj::str(name) : kj::str(name, "-add");
  auto removal = kj::str(name, "-rm");
  auto removed = create ? kj::ArrayPtr<const kj::String>(nullptr) : args.values(removal);
  if (!args.given(flag) && removed.size() == 0) return;

  kj::StringPtr field = list.path;
  auto holder = holderOf(spec, field);
  auto orphanage = capnp::Orphanage::getForMessageContaining(spec);
  ListParsing parsing{orphanage, lookUp, {}};
  auto before = holder.get(field).as<capnp::DynamicList>().asReader();
  ListItems items;
  auto found = kj::heapArray<bool>(removed.size());
  for (bool& one : found) one = false;
  for (auto item : before) {
    bool keep = true;
    for (size_t i = 0; i < removed.size(); ++i) {
      if (!isRemovedBy(list, removed[i], item)) continue;
      keep = false;
      found[i] = true;
    }
    if (keep) items.add(orphanage.newOrphanCopy(item));
  }
  for (size_t i = 0; i < removed.size(); ++i) {
    if (!found[i]) absent.add(kj::str(removal, " '", removed[i], "'"));
  }
  for (auto& value : args.values(flag)) {
    parsing.items.clear();
    list.parse(flag, value, parsing);
    for (auto& item : parsing.items) put(list, flag, value, create, kj::mv(item), items);
  }
  auto result = holder.init(field, static_cast<unsigned>(items.size())).as<capnp::DynamicList>();
  for (unsigned i = 0; i < items.size(); ++i) result.adopt(i, kj::mv(items[i]));
}

// `cap_net_admin` is `NET_ADMIN`.
kj::String capabilityName(kj::StringPtr text) {
  auto name = kj::str(text);
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name.startsWith("CAP_") ? kj::str(name.slice(4)) : kj::mv(name);
}

// On update, adding a capability undoes dropping it and the other way round.
void applyCapabilities(const Arguments& args, schema::ContainerSpec::Builder container) {
  using Texts = kj::Vector<kj::String>;
  if (!args.given("--cap-add") && !args.given("--cap-drop")) return;
  Texts add;
  Texts drop;
  for (auto text : container.getCapAdd()) add.add(kj::str(text));
  for (auto text : container.getCapDrop()) drop.add(kj::str(text));
  auto without = [](Texts texts, kj::StringPtr name) {
    Texts kept;
    for (auto& text : texts) {
      if (text != name) kept.add(kj::mv(text));
    }
    return kept;
  };
  auto move = [&](kj::StringPtr flag, Texts& to, Texts& from) {
    for (auto& value : args.values(flag)) {
      auto name = capabilityName(parseName(flag, value));
      from = without(kj::mv(from), name);
      to = without(kj::mv(to), name);
      to.add(kj::mv(name));
    }
  };
  move("--cap-drop", drop, add);
  move("--cap-add", add, drop);
  auto adds = container.initCapAdd(static_cast<unsigned>(add.size()));
  for (unsigned i = 0; i < add.size(); ++i) adds.set(i, add[i]);
  auto drops = container.initCapDrop(static_cast<unsigned>(drop.size()));
  for (unsigned i = 0; i < drop.size(); ++i) drops.set(i, drop[i]);
}

}  // namespace

capnp::DynamicStruct::Builder holderOf(schema::ServiceSpec::Builder spec, kj::StringPtr& path) {
  capnp::DynamicStruct::Builder holder = spec;
  for (;;) {
    KJ_IF_MAYBE (dot, path.findFirst('.')) {
      holder = holder.get(kj::heapString(path.begin(), *dot)).as<capnp::DynamicStruct>();
      path = path.slice(*dot + 1);
    } else {
      return holder;
    }
  }
}

kj::ArrayPtr<const ServiceList> serviceLists() { return LISTS; }

void applyLists(const Arguments& args, schema::ServiceSpec::Builder spec, const LookUp& lookUp,
                kj::Vector<kj::String>& absent) {
  for (auto& list : LISTS) applyList(args, list, spec, lookUp, absent);
  applyCapabilities(args, spec.getTask().getContainer());
}

}  // namespace orch::cli
