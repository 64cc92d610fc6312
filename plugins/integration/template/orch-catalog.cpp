#include "orch-catalog.h"

#include <algorithm>
#include <set>

namespace orch::integration::templates {

namespace {

using Mode = schema::PortSpec::PublishMode;

Value makeStruct(const char* type, std::vector<std::pair<const char*, Value>> fields) {
  return Value::Struct{type, std::move(fields)};
}

Value textsOf(const Labels& labels) {
  Value::Map map;
  map.none = "";
  for (auto& [key, value] : labels) map.entries[key] = value;
  return map;
}

Value tagsOf(const std::set<std::string>& tags) {
  std::vector<Value> items(tags.begin(), tags.end());
  return Value::List{std::move(items), true};
}
Value tagsOf(const OrchEntry& entry) {
  return tagsOf(std::set<std::string>(entry.tags.begin(), entry.tags.end()));
}

std::vector<std::string> wordsOf(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    auto comma = std::min(text.find(','), text.size());
    if (comma > 0) words.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return words;
}

bool onHostNetwork(schema::Task::Reader task) {
  auto networks = task.getSpec().getNetworks();
  return networks.size() == 1 && networks[0].getName() == "host";
}

// 0: it is not published, or not yet.
uint16_t publishedOf(schema::Task::Reader task, schema::PortSpec::Reader port) {
  if (onHostNetwork(task)) return port.getTarget();
  if (port.getMode() != Mode::HOST) return port.getPublished();
  for (auto chosen : task.getStatus().getHostPorts()) {
    bool same =
        chosen.getTarget() == port.getTarget() && chosen.getProtocol() == port.getProtocol();
    if (same) return chosen.getPublished();
  }
  return port.getPublished();
}

std::string withoutPrefixLength(kj::StringPtr address) {
  std::string text = address.cStr();
  return text.substr(0, text.find('/'));
}

// Of one that publishes nothing.
std::string ownAddress(schema::Task::Reader task, const std::string& self) {
  auto addresses = task.getStatus().getAddresses();
  bool here = task.getNodeId() == self.c_str();
  if (here && addresses.size() > 0) return withoutPrefixLength(addresses[0]);
  auto legs = task.getLegs();
  return legs.size() > 0 ? withoutPrefixLength(legs[0].getAddress()) : std::string();
}

std::string nameOfTask(schema::Task::Reader task) {
  auto slot = task.getSlot() > 0 ? kj::str(task.getSlot()) : kj::str(task.getNodeId());
  return kj::str(task.getServiceName(), ".", slot, ".", task.getMeta().getId()).cStr();
}

const OrchNode& nodeOf(const OrchNodes& nodes, const std::string& id) {
  static const OrchNode UNKNOWN;
  auto found = nodes.find(id);
  return found == nodes.end() ? UNKNOWN : found->second;
}

// That of the query stands for `self` if it is empty, as after `node`, or `_agent`.
bool isNode(const std::string& asked, const std::string& id, const OrchNodes& nodes,
            const std::string& self) {
  if (asked.empty() || asked == "_agent") return id == self;
  return asked == id || asked == nodeOf(nodes, id).name;
}

// In the order of nodes and ids, as consul's are; those that are near first.
std::vector<OrchEntry> sorted(const Query& query, std::vector<OrchEntry> entries,
                              const OrchNodes& nodes, const std::string& self) {
  auto key = [&](const OrchEntry& entry) {
    bool far = !query.near.empty() && !isNode(query.near, entry.nodeId, nodes, self);
    return std::tuple(far, nodeOf(nodes, entry.nodeId).name, entry.id);
  };
  std::sort(entries.begin(), entries.end(),
            [&](const OrchEntry& a, const OrchEntry& b) { return key(a) < key(b); });
  return entries;
}

Value serviceOf(const OrchEntry& entry, const OrchNode& node) {
  auto weights = makeStruct("api.AgentWeights", {{"Passing", int64_t{1}}, {"Warning", int64_t{1}}});
  return makeStruct("*dep.HealthService", {{"Node", node.name},
                                           {"NodeID", entry.nodeId},
                                           {"NodeAddress", node.address},
                                           {"NodeTaggedAddresses", textsOf({})},
                                           {"NodeMeta", textsOf(node.labels)},
                                           {"ServiceMeta", textsOf(entry.labels)},
                                           {"Address", entry.address},
                                           {"ServiceTaggedAddresses", Value::Map()},
                                           {"ID", entry.id},
                                           {"Name", entry.name},
                                           {"Tags", tagsOf(entry)},
                                           {"Checks", Value::list({})},
                                           {"Status", "passing"},
                                           {"Port", entry.port},
                                           {"Weights", weights}});
}

// All that serve are healthy, and the others are not there.
bool wantsPassing(const Query& query) {
  return std::any_of(query.states.begin(), query.states.end(),
                     [](auto& state) { return state == "any" || state == "passing"; });
}

Value serviceAnswer(const Query& query, const std::vector<OrchEntry>& entries,
                    const OrchNodes& nodes) {
  std::vector<Value> services;
  for (auto& entry : entries) {
    bool tagged = query.tag.empty() ||
                  std::find(entry.tags.begin(), entry.tags.end(), query.tag) != entry.tags.end();
    if (entry.name != query.name || !tagged || !wantsPassing(query)) continue;
    services.push_back(serviceOf(entry, nodeOf(nodes, entry.nodeId)));
  }
  return Value::list(std::move(services));
}

Value servicesAnswer(const std::vector<OrchEntry>& entries) {
  std::map<std::string, std::set<std::string>> names;
  for (auto& entry : entries) names[entry.name].insert(entry.tags.begin(), entry.tags.end());
  std::vector<Value> services;
  for (auto& [name, tags] : names) {
    services.push_back(makeStruct("*dep.CatalogSnippet", {{"Name", name}, {"Tags", tagsOf(tags)}}));
  }
  return Value::list(std::move(services));
}

Value nodeValue(const std::string& id, const OrchNode& node) {
  return makeStruct("*dep.Node", {{"ID", id},
                                  {"Node", node.name},
                                  {"Address", node.address},
                                  {"Datacenter", ""},
                                  {"TaggedAddresses", textsOf({})},
                                  {"Meta", textsOf(node.labels)}});
}

Value nodeAnswer(const Query& query, const std::vector<OrchEntry>& entries, const OrchNodes& nodes,
                 const std::string& self) {
  Value found;
  std::vector<Value> services;
  for (auto& [id, node] : nodes) {
    if (!found.isNil() || !isNode(query.name, id, nodes, self)) continue;
    found = nodeValue(id, node);
    for (auto& entry : entries) {
      if (entry.nodeId != id) continue;
      services.push_back(makeStruct("*dep.CatalogNodeService", {{"ID", entry.id},
                                                                {"Service", entry.name},
                                                                {"Tags", tagsOf(entry)},
                                                                {"Meta", textsOf(entry.labels)},
                                                                {"Port", entry.port},
                                                                {"Address", entry.address},
                                                                {"EnableTagOverride", false}}));
    }
  }
  return makeStruct("*dep.CatalogNode", {{"Node", found}, {"Services", Value::list(services)}});
}

Value nodesAnswer(const Query& query, const OrchNodes& nodes, const std::string& self) {
  std::vector<std::tuple<bool, std::string, std::string>> order;  // far, name, id
  for (auto& [id, node] : nodes) {
    bool far = !query.near.empty() && !isNode(query.near, id, nodes, self);
    order.emplace_back(far, node.name, id);
  }
  std::sort(order.begin(), order.end());
  std::vector<Value> all;
  for (auto& [far, name, id] : order) all.push_back(nodeValue(id, nodeOf(nodes, id)));
  return Value::list(std::move(all));
}

}  // namespace

std::vector<OrchEntry> orchEntries(schema::TaskEntry::Reader fed, const OrchNodes& nodes,
                                   const std::string& self) {
  std::vector<OrchEntry> entries;
  if (!fed.getServing()) return entries;
  auto task = fed.getTask();
  OrchEntry entry;
  entry.id = nameOfTask(task);
  entry.name = task.getServiceName().cStr();
  entry.nodeId = task.getNodeId().cStr();
  for (auto label : task.getServiceLabels()) {
    entry.labels[label.getKey().cStr()] = label.getValue().cStr();
  }
  entry.tags = wordsOf(entry.labels[TAGS_LABEL]);
  entry.labels.erase(TAGS_LABEL);
  if (task.getPorts().size() == 0) {
    entry.address =
        onHostNetwork(task) ? nodeOf(nodes, entry.nodeId).address : ownAddress(task, self);
    if (!entry.address.empty()) entries.push_back(std::move(entry));
    return entries;
  }
  for (auto port : task.getPorts()) {
    auto at = entry;
    auto number = std::to_string(port.getTarget());
    at.id += ":" + number;
    if (task.getPorts().size() > 1) at.name += "-" + number;
    at.address = nodeOf(nodes, entry.nodeId).address;
    at.port = publishedOf(task, port);
    if (port.getProtocol() == schema::PortSpec::Protocol::UDP) {
      at.tags.push_back("udp");
      at.id += ":udp";
    }
    if (at.port > 0 && !at.address.empty()) entries.push_back(std::move(at));
  }
  return entries;
}

bool orchKnows(const Query& query) {
  if (!query.datacenter.empty()) return false;
  return query.kind == Query::Kind::SERVICE || query.kind == Query::Kind::SERVICES ||
         query.kind == Query::Kind::NODE || query.kind == Query::Kind::NODES;
}

Value orchAnswer(const Query& query, const std::vector<OrchEntry>& entries, const OrchNodes& nodes,
                 const std::string& self) {
  switch (query.kind) {
    case Query::Kind::SERVICE:
      return serviceAnswer(query, sorted(query, entries, nodes, self), nodes);
    case Query::Kind::SERVICES:
      return servicesAnswer(entries);
    case Query::Kind::NODE:
      return nodeAnswer(query, sorted(query, entries, nodes, self), nodes, self);
    default:
      return nodesAnswer(query, nodes, self);
  }
}

}  // namespace orch::integration::templates
