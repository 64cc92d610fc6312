#include "catalog.h"

#include <kj/encoding.h>

#include <algorithm>

#include "language/json.h"
#include "language/numbers.h"
#include "orch/fail.h"

namespace orch::integration::templates {

namespace {

using ValueKind = Value::Kind;
using Fields = std::vector<std::pair<const char*, Value>>;

[[noreturn]] void failCatalog(kj::StringPtr what) {
  fail(kj::str("answers what no consul does: ", what));
}

const Value::Map& objectOf(const Value& value) {
  if (!value.is(ValueKind::MAP)) failCatalog("no object where one has to be");
  return value.map();
}
const Value& at(const Value& object, const char* name) {
  auto* found = objectOf(object).find(name);
  if (found == nullptr) failCatalog(kj::str("no '", name, "'"));
  return *found;
}
Value orNil(const Value& object, const char* name) {
  auto* found = objectOf(object).find(name);
  return found == nullptr ? Value() : *found;
}
std::string textAt(const Value& object, const char* name) {
  auto value = orNil(object, name);
  if (value.isNil()) return {};
  if (!value.is(ValueKind::STRING)) failCatalog("no text where one has to be");
  return value.text();
}
Value wholeAt(const Value& object, const char* name) {
  auto value = orNil(object, name);
  if (value.isNil()) return int64_t{0};
  if (!value.is(ValueKind::FLOAT)) failCatalog("no number where one has to be");
  return towardsZero(value.real());
}
// All values are texts: what is not there is empty.
Value textsAt(const Value& object, const char* name) {
  auto value = orNil(object, name);
  Value::Map map;
  if (!value.isNil()) map = objectOf(value);
  map.none = "";
  return map;
}
std::vector<Value> listOf(const Value& value) {
  if (value.isNil()) return {};
  if (!value.is(ValueKind::LIST)) failCatalog("no list where one has to be");
  return value.items().items;
}
Value tagsOf(const Value& value) {
  auto tags = listOf(value);
  for (auto& tag : tags) {
    if (!tag.is(ValueKind::STRING)) failCatalog("a tag that is no text");
  }
  std::sort(tags.begin(), tags.end(),
            [](const Value& a, const Value& b) { return a.text() < b.text(); });
  return Value::List{std::move(tags), true};
}
Value structOf(const char* type, Fields fields) { return Value::Struct{type, std::move(fields)}; }
// By two fields that are texts.
void sortBy(std::vector<Value>& items, const char* first, const char* second) {
  auto key = [&](const Value& item, const char* name) -> const std::string& {
    return item.fields().find(name)->text();
  };
  std::stable_sort(items.begin(), items.end(), [&](const Value& a, const Value& b) {
    auto& x = key(a, first);
    auto& y = key(b, first);
    return x != y ? x < y : key(a, second) < key(b, second);
  });
}

// Of all checks of a service and its node, the worst.
std::string statusOf(const std::vector<Value>& checks) {
  bool maintenance = false, critical = false, warning = false;
  for (auto& check : checks) {
    auto id = textAt(check, "CheckID"), status = textAt(check, "Status");
    maintenance =
        maintenance || id == "_node_maintenance" || id.starts_with("_service_maintenance:");
    critical = critical || status == "critical";
    warning = warning || status == "warning";
  }
  return maintenance ? "maintenance" : critical ? "critical" : warning ? "warning" : "passing";
}

Value checkOf(const Value& check) {
  return structOf("*api.HealthCheck", {{"Node", textAt(check, "Node")},
                                       {"CheckID", textAt(check, "CheckID")},
                                       {"Name", textAt(check, "Name")},
                                       {"Status", textAt(check, "Status")},
                                       {"Notes", textAt(check, "Notes")},
                                       {"Output", textAt(check, "Output")},
                                       {"ServiceID", textAt(check, "ServiceID")},
                                       {"ServiceName", textAt(check, "ServiceName")},
                                       {"Type", textAt(check, "Type")}});
}

Value addressesOf(const Value& service) {
  Value::Map map;
  auto given = orNil(service, "TaggedAddresses");
  if (given.isNil()) return map;
  for (auto& [name, address] : objectOf(given).entries) {
    map.entries[name] = structOf("api.ServiceAddress", {{"Address", textAt(address, "Address")},
                                                        {"Port", wholeAt(address, "Port")}});
  }
  return map;
}

Value weightsOf(const Value& service) {
  auto weights = orNil(service, "Weights");
  if (weights.isNil()) weights = Value::Map();
  return structOf("api.AgentWeights", {{"Passing", wholeAt(weights, "Passing")},
                                       {"Warning", wholeAt(weights, "Warning")}});
}

bool isWanted(const Query& query, const std::string& status) {
  return std::any_of(query.states.begin(), query.states.end(),
                     [&](auto& state) { return state == "any" || state == status; });
}

Value readService(const Query& query, const Value& root) {
  std::vector<Value> services;
  for (auto& entry : listOf(root)) {
    auto& node = at(entry, "Node");
    auto& service = at(entry, "Service");
    auto checks = listOf(orNil(entry, "Checks"));
    auto status = statusOf(checks);
    if (!isWanted(query, status)) continue;
    auto address = textAt(service, "Address");
    if (address.empty()) address = textAt(node, "Address");
    std::transform(checks.begin(), checks.end(), checks.begin(), checkOf);
    services.push_back(
        structOf("*dep.HealthService", {{"Node", textAt(node, "Node")},
                                        {"NodeID", textAt(node, "ID")},
                                        {"NodeAddress", textAt(node, "Address")},
                                        {"NodeTaggedAddresses", textsAt(node, "TaggedAddresses")},
                                        {"NodeMeta", textsAt(node, "Meta")},
                                        {"ServiceMeta", textsAt(service, "Meta")},
                                        {"Address", address},
                                        {"ServiceTaggedAddresses", addressesOf(service)},
                                        {"ID", textAt(service, "ID")},
                                        {"Name", textAt(service, "Service")},
                                        {"Tags", tagsOf(orNil(service, "Tags"))},
                                        {"Checks", Value::list(std::move(checks))},
                                        {"Status", status},
                                        {"Port", wholeAt(service, "Port")},
                                        {"Weights", weightsOf(service)}}));
  }
  if (query.near.empty()) sortBy(services, "Node", "ID");
  return Value::list(std::move(services));
}

Value readServices(const Value& root) {
  std::vector<Value> services;
  for (auto& [name, tags] : objectOf(root).entries) {
    services.push_back(structOf("*dep.CatalogSnippet",
                                {{"Name", std::get<std::string>(name)}, {"Tags", tagsOf(tags)}}));
  }
  return Value::list(std::move(services));
}

std::string bytesOf(const Value& pair) {
  auto text = textAt(pair, "Value");
  auto bytes = kj::decodeBase64(kj::arrayPtr(text.data(), text.size()));
  if (bytes.hadErrors) failCatalog("a value that is no base64");
  return std::string(bytes.asChars().begin(), bytes.size());
}

Value readPairs(const Query& query, const Value& root) {
  std::vector<Value> pairs;
  for (auto& pair : listOf(root)) {
    auto path = textAt(pair, "Key");
    auto key = path.starts_with(query.name) ? path.substr(query.name.size()) : path;
    key.erase(0, std::min(key.find_first_not_of('/'), key.size()));
    pairs.push_back(structOf("*dep.KeyPair", {{"Path", path},
                                              {"Key", key},
                                              {"Value", bytesOf(pair)},
                                              {"CreateIndex", wholeAt(pair, "CreateIndex")},
                                              {"ModifyIndex", wholeAt(pair, "ModifyIndex")},
                                              {"LockIndex", wholeAt(pair, "LockIndex")},
                                              {"Flags", wholeAt(pair, "Flags")},
                                              {"Session", textAt(pair, "Session")}}));
  }
  return Value::list(std::move(pairs));
}

Value nodeOf(const Value& node) {
  return structOf("*dep.Node", {{"ID", textAt(node, "ID")},
                                {"Node", textAt(node, "Node")},
                                {"Address", textAt(node, "Address")},
                                {"Datacenter", textAt(node, "Datacenter")},
                                {"TaggedAddresses", textsAt(node, "TaggedAddresses")},
                                {"Meta", textsAt(node, "Meta")}});
}

Value readNode(const Value& root) {
  if (root.isNil()) {
    return structOf("*dep.CatalogNode", {{"Node", Value()}, {"Services", Value::list({})}});
  }
  std::vector<Value> services;
  auto given = orNil(root, "Services");
  if (!given.isNil()) {
    for (auto& [id, service] : objectOf(given).entries) {
      services.push_back(structOf("*dep.CatalogNodeService",
                                  {{"ID", textAt(service, "ID")},
                                   {"Service", textAt(service, "Service")},
                                   {"Tags", tagsOf(orNil(service, "Tags"))},
                                   {"Meta", textsAt(service, "Meta")},
                                   {"Port", wholeAt(service, "Port")},
                                   {"Address", textAt(service, "Address")},
                                   {"EnableTagOverride", orNil(service, "EnableTagOverride")}}));
    }
  }
  sortBy(services, "Service", "ID");
  return structOf("*dep.CatalogNode",
                  {{"Node", nodeOf(at(root, "Node"))}, {"Services", Value::list(services)}});
}

Value readNodes(const Query& query, const Value& root) {
  std::vector<Value> nodes = listOf(root);
  std::transform(nodes.begin(), nodes.end(), nodes.begin(), nodeOf);
  if (query.near.empty()) sortBy(nodes, "Node", "Address");
  return Value::list(std::move(nodes));
}

std::string escaped(std::string_view text) {
  return kj::encodeUriComponent(kj::arrayPtr(text.data(), text.size())).cStr();
}
// With its slashes as they are.
std::string escapedKey(std::string_view key) {
  std::string out;
  for (;;) {
    auto slash = key.find('/');
    out += escaped(key.substr(0, slash));
    if (slash == std::string_view::npos) return out;
    out += '/';
    key.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string consulPath(const Query& query) {
  std::string path;
  switch (query.kind) {
    case Query::Kind::SERVICE:
      path = "/v1/health/service/" + escaped(query.name);
      break;
    case Query::Kind::SERVICES:
      path = "/v1/catalog/services";
      break;
    case Query::Kind::KEY:
    case Query::Kind::KEYS:
      path = "/v1/kv/" + escapedKey(query.name);
      break;
    case Query::Kind::NODE:
      path = query.name.empty() ? "/v1/agent/self" : "/v1/catalog/node/" + escaped(query.name);
      break;
    case Query::Kind::NODES:
      path = "/v1/catalog/nodes";
      break;
    default:
      path = "/v1/catalog/datacenters";
  }
  char mark = '?';
  auto add = [&](const std::string& parameter) {
    path += mark + parameter;
    mark = '&';
  };
  if (query.states == std::vector<std::string>{"passing"}) add("passing=1");
  if (query.kind == Query::Kind::KEYS) add("recurse=1");
  if (!query.tag.empty()) add("tag=" + escaped(query.tag));
  if (!query.datacenter.empty()) add("dc=" + escaped(query.datacenter));
  if (!query.near.empty()) add("near=" + escaped(query.near));
  return path;
}

Value readAnswer(const Query& query, std::string_view body, bool found) {
  bool keys = query.kind == Query::Kind::KEY || query.kind == Query::Kind::KEYS;
  if (!found && !keys) failCatalog("404");
  std::string problem;
  Value root = found ? parseJson(body, problem) : Value();
  if (!problem.empty()) failCatalog(problem.c_str());
  switch (query.kind) {
    case Query::Kind::SERVICE:
      return readService(query, root);
    case Query::Kind::SERVICES:
      return readServices(root);
    case Query::Kind::KEY: {
      auto pairs = listOf(root);
      return pairs.empty() ? Value() : Value(bytesOf(pairs[0]));
    }
    case Query::Kind::KEYS:
      return readPairs(query, root);
    case Query::Kind::NODE:
      return readNode(root);
    case Query::Kind::NODES:
      return readNodes(query, root);
    default:
      for (auto& name : listOf(root)) {
        if (!name.is(ValueKind::STRING)) failCatalog("a data center without a name");
      }
      return Value::list(listOf(root));
  }
}

std::string readAgentNode(std::string_view body) {
  std::string problem;
  auto root = parseJson(body, problem);
  if (!problem.empty()) failCatalog(problem.c_str());
  return textAt(at(root, "Config"), "NodeName");
}

}  // namespace orch::integration::templates
