#include "consul/services.h"

#include <boost/json.hpp>

#include <algorithm>

#include "orch/fail.h"

namespace orch::consul {

namespace {

namespace json = boost::json;

constexpr size_t MAX_META_KEY = 128;
constexpr size_t MAX_META_VALUE = 512;

json::string_view viewOf(std::string_view text) { return {text.data(), text.size()}; }

void addIf(json::object& to, const char* name, const std::string& value) {
  if (!value.empty()) to[name] = viewOf(value);
}

json::array listOf(const std::vector<std::string>& texts) {
  json::array list;
  for (auto& text : texts) list.emplace_back(viewOf(text));
  return list;
}

json::array checkListOf(const std::vector<ServiceCheck>& checks) {
  json::array list;
  for (auto& check : checks) {
    json::object one;
    addIf(one, "CheckID", check.id);
    addIf(one, "Name", check.name);
    addIf(one, "HTTP", check.http);
    addIf(one, "Method", check.method);
    addIf(one, "TCP", check.tcp);
    addIf(one, "GRPC", check.grpc);
    if (check.grpcTls) one["GRPCUseTLS"] = true;
    if (check.trustAll) one["TLSSkipVerify"] = true;
    addIf(one, "TTL", check.ttl);
    if (!check.args.empty()) one["Args"] = listOf(check.args);
    addIf(one, "Interval", check.interval);
    addIf(one, "Timeout", check.timeout);
    addIf(one, "Status", check.status);
    addIf(one, "DeregisterCriticalServiceAfter", check.deregisterAfter);
    list.emplace_back(std::move(one));
  }
  return list;
}

// Agents and catalogs call a service's name differently.
json::object objectOfService(const RegisteredService& service, const char* nameKey) {
  json::object root;
  root["ID"] = viewOf(service.id);
  root[nameKey] = viewOf(service.name);
  root["Address"] = viewOf(service.address);
  root["Port"] = service.port;
  root["Tags"] = listOf(service.tags);
  json::object meta;
  for (auto& [key, value] : service.meta) meta[viewOf(key)] = viewOf(value);
  root["Meta"] = std::move(meta);
  return root;
}

[[noreturn]] void failService(kj::StringPtr what) {
  fail(kj::str("answers what no agent of consul does: ", what));
}

json::value parsedService(std::string_view text) {
  json::error_code error;
  auto value = json::parse(viewOf(text), error);
  if (error) failService(kj::str("no JSON (", error.message().c_str(), ")"));
  return value;
}

// Nothing if it is not there or null.
const json::value* memberOf(const json::object& from, const char* name) {
  auto* value = from.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string textIn(const json::value& value) {
  if (!value.is_string()) failService("a text that is none");
  return {value.get_string().data(), value.get_string().size()};
}

std::string memberText(const json::object& from, const char* name) {
  auto* value = memberOf(from, name);
  return value == nullptr ? std::string() : textIn(*value);
}

RegisteredService serviceIn(const json::value& value) {
  if (!value.is_object()) failService("a service that is no object");
  auto& from = value.get_object();
  RegisteredService service;
  service.id = memberText(from, "ID");
  service.name = memberText(from, "Service");
  service.address = memberText(from, "Address");
  if (auto* port = memberOf(from, "Port")) {
    if (!port->is_int64()) failService("a port that is no number");
    service.port = static_cast<uint16_t>(port->get_int64());
  }
  if (auto* tags = memberOf(from, "Tags")) {
    if (!tags->is_array()) failService("tags that are no list");
    for (auto& tag : tags->get_array()) service.tags.push_back(textIn(tag));
  }
  if (auto* meta = memberOf(from, "Meta")) {
    if (!meta->is_object()) failService("a service's meta that is no object");
    for (auto& pair : meta->get_object()) {
      service.meta[std::string(pair.key().data(), pair.key().size())] = textIn(pair.value());
    }
  }
  return service;
}

// By their ids.
std::vector<RegisteredService> servicesIn(const json::value& value) {
  if (!value.is_object()) failService("no object");
  std::vector<RegisteredService> services;
  for (auto& pair : value.get_object()) services.push_back(serviceIn(pair.value()));
  return services;
}

}  // namespace

bool isMetaKey(std::string_view key) {
  return !key.empty() && key.size() <= MAX_META_KEY &&
         std::all_of(key.begin(), key.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_';
         });
}

bool isMetaValue(std::string_view value) { return value.size() <= MAX_META_VALUE; }

std::string registrationText(const RegisteredService& service,
                             const std::vector<ServiceCheck>& checks) {
  auto root = objectOfService(service, "Name");
  if (!checks.empty()) root["Checks"] = checkListOf(checks);
  return json::serialize(root);
}

std::string nodeServiceText(std::string_view node, std::string_view address,
                            const RegisteredService& service) {
  json::object root;
  root["Node"] = viewOf(node);
  root["Address"] = viewOf(address);
  root["SkipNodeUpdate"] = true;
  root["Service"] = objectOfService(service, "Service");
  return json::serialize(root);
}

std::string checksText(const std::vector<ServiceCheck>& checks) {
  return json::serialize(checkListOf(checks));
}

std::vector<RegisteredService> readServices(std::string_view text) {
  return servicesIn(parsedService(text));
}

std::vector<std::string> readNodes(std::string_view text) {
  auto root = parsedService(text);
  if (!root.is_array()) failService("no list");
  std::vector<std::string> nodes;
  for (auto& node : root.get_array()) {
    if (!node.is_object()) failService("a node that is no object");
    nodes.push_back(memberText(node.get_object(), "Node"));
  }
  return nodes;
}

std::vector<RegisteredService> readNodeServices(std::string_view text) {
  auto root = parsedService(text);
  if (root.is_null()) return {};
  if (!root.is_object()) failService("no object");
  auto* services = memberOf(root.get_object(), "Services");
  return services == nullptr ? std::vector<RegisteredService>() : servicesIn(*services);
}

std::string deregistrationText(std::string_view node, std::string_view service) {
  json::object root;
  root["Node"] = viewOf(node);
  root["ServiceID"] = viewOf(service);
  return json::serialize(root);
}

RegisteredService readService(std::string_view text) { return serviceIn(parsedService(text)); }

}  // namespace orch::consul
