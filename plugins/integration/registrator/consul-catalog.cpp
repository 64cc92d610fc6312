#include "consul-catalog.h"

#include <kj/encoding.h>

#include <algorithm>

#include "check.h"
#include "orch/fail.h"

namespace orch::integration::registrator {

namespace {

using orch::consul::RegisteredService;
using orch::consul::Reply;
using orch::consul::ServiceCheck;

// consul takes a service away no sooner than a minute after it has become critical.
constexpr uint64_t LEAST_CRITICAL_MS = 60'000;

std::string escaped(const std::string& text) {
  return kj::encodeUriComponent(kj::arrayPtr(text.data(), text.size())).cStr();
}

std::string secondsText(uint64_t ms) { return std::to_string((ms + 999) / 1000) + "s"; }

std::string ttlCheckOf(const std::string& id) { return "orch:" + id; }

// FNV-1a: equal checks have equal ones, and that is all that is asked of it.
std::string digestOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  return kj::str(kj::hex(hash)).cStr();
}

std::string ownerIn(const RegisteredService& service) {
  auto owner = service.meta.find(ConsulCatalog::NODE);
  return owner == service.meta.end() ? std::string() : owner->second;
}

std::string filterOf(const std::string& nodeId) {
  return "?filter=" +
         escaped(std::string("Meta[\"") + ConsulCatalog::NODE + "\"] == \"" + nodeId + "\"");
}

// Of an answer, whatever the filter was taken for.
std::vector<RegisteredService> ofNode(std::vector<RegisteredService> services,
                                      const std::string& nodeId) {
  std::erase_if(services, [&](auto& service) { return ownerIn(service) != nodeId; });
  return services;
}

std::string recordIn(const RegisteredService& service) {
  return orch::consul::registrationText(service, {});
}

}  // namespace

ConsulCatalog::ConsulCatalog(Env& env, Log& log, orch::consul::ClientSettings settings,
                             ConsulRules rules)
    : env(env), log(log), rules(std::move(rules)), client(env, std::move(settings)) {}

std::vector<ServiceCheck> ConsulCatalog::checksOf(const ServiceEntry& entry) const {
  if (!rules.node.empty()) return {};
  auto checks = checkOf(entry, rules.scripts).checks;
  if (rules.ttlMs == 0) return checks;
  ServiceCheck ttl;
  ttl.id = ttlCheckOf(entry.id);
  ttl.name = "its node still tells of it";
  ttl.ttl = secondsText(rules.ttlMs);
  ttl.status = "passing";
  ttl.deregisterAfter = secondsText(std::max(rules.ttlMs, LEAST_CRITICAL_MS));
  checks.push_back(std::move(ttl));
  return checks;
}

RegisteredService ConsulCatalog::serviceOf(const ServiceEntry& entry) const {
  RegisteredService service{entry.id, entry.name, entry.address, entry.port, entry.tags, {}};
  auto checks = checksOf(entry);
  service.meta[NODE] = rules.nodeId;
  service.meta[TASK] = entry.taskId;
  if (!checks.empty()) service.meta[CHECKS] = digestOf(orch::consul::checksText(checks));
  for (auto& [key, value] : entry.attributes) {
    bool taken = service.meta.size() < orch::consul::MAX_META && orch::consul::isMetaKey(key) &&
                 orch::consul::isMetaValue(value);
    if (taken) service.meta.emplace(key, value);
  }
  return service;
}

std::string ConsulCatalog::recordOf(const ServiceEntry& entry) const {
  return recordIn(serviceOf(entry));
}

Task<std::string> ConsulCatalog::get(std::string path) {
  auto reply = co_await client.ask(kj::HttpMethod::GET, kj::mv(path), "");
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
  if (reply.status != 200) fail(kj::str(client.refusal(reply.body).c_str()));
  co_return kj::mv(reply.body);
}

Task<std::vector<RegisteredService>> ConsulCatalog::servicesOf(std::string nodeId) {
  bool agents = rules.node.empty();
  auto path =
      agents ? std::string("/v1/agent/services") : "/v1/catalog/node/" + escaped(rules.node);
  auto body = co_await get(path + filterOf(nodeId));
  auto parsing = env.workers().run([text = kj::mv(body), agents] {
    return agents ? orch::consul::readServices(text) : orch::consul::readNodeServices(text);
  });
  auto services = co_await parsing;
  co_return ofNode(kj::mv(services), nodeId);
}

Task<Catalog::Records> ConsulCatalog::list() {
  auto services = co_await servicesOf(rules.nodeId);
  Records records;
  for (auto& service : services) records[service.id] = recordIn(service);
  co_return kj::mv(records);
}

Task<void> ConsulCatalog::forgetNode(std::string nodeId) {
  std::vector<RegisteredService> here;
  if (rules.node.empty()) {
    auto found = co_await servicesOf(nodeId);
    here = kj::mv(found);
  }
  for (auto& service : here) co_await deregister("", service.id);
  auto body = co_await get("/v1/catalog/nodes");
  auto agents = orch::consul::readNodes(body);
  for (auto& agent : agents) co_await forgetInCatalog(agent, nodeId);
}

Task<void> ConsulCatalog::forgetInCatalog(std::string agent, std::string nodeId) {
  auto body = co_await get("/v1/catalog/node/" + escaped(agent) + filterOf(nodeId));
  auto services = ofNode(orch::consul::readNodeServices(body), nodeId);
  for (auto& service : services) co_await deregister(agent, service.id);
}

std::string ConsulCatalog::refusedCheck(const ServiceEntry& entry) const {
  auto choice = checkOf(entry, rules.scripts);
  if (rules.node.empty() || choice.checks.empty()) return choice.refused;
  return "consul's agents make checks, and this service is of none; use --health-cmd";
}

Task<ConsulCatalog::Owner> ConsulCatalog::ownerOf(std::string id) {
  auto path = rules.node.empty() ? "/v1/agent/service/" + escaped(id)
                                 : "/v1/catalog/node/" + escaped(rules.node);
  auto reply = co_await client.ask(kj::HttpMethod::GET, path, "");
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
  if (reply.status == 404) co_return Owner::NOBODY;
  std::vector<RegisteredService> found;
  if (rules.node.empty()) {
    found.push_back(orch::consul::readService(reply.body));
  } else {
    found = orch::consul::readNodeServices(reply.body);
  }
  for (auto& service : found) {
    if (service.id != id) continue;
    co_return ownerIn(service) == rules.nodeId ? Owner::THIS_NODE : Owner::ANOTHER;
  }
  co_return Owner::NOBODY;
}

Task<std::string> ConsulCatalog::put(ServiceEntry entry) {
  auto owner = co_await ownerOf(entry.id);
  if (owner == Owner::ANOTHER) {
    co_return std::string(
        "there is a service with this id that this node has not registered; it is left alone");
  }
  auto without = refusedCheck(entry);
  if (!without.empty()) {
    log.warn("registrator.check-refused, registered without it",
             {{"service", entry.id.c_str()}, {"reason", without.c_str()}});
  }
  auto service = serviceOf(entry);
  std::string path = "/v1/catalog/register", body;
  if (rules.node.empty()) {
    path = "/v1/agent/service/register?replace-existing-checks=true";
    body = orch::consul::registrationText(service, checksOf(entry));
  } else {
    body = orch::consul::nodeServiceText(rules.node, entry.address, service);
  }
  auto reply = co_await client.ask(kj::HttpMethod::PUT, path, body);
  if (reply.kind == Reply::Kind::LOST) fail(kj::str(reply.reason.c_str()));
  if (reply.kind == Reply::Kind::REFUSED) co_return kj::mv(reply.reason);
  if (reply.status != 200) co_return client.refusal(reply.body);
  co_return std::string();
}

Task<void> ConsulCatalog::remove(std::string place) {
  auto owner = co_await ownerOf(place);
  if (owner == Owner::THIS_NODE) co_await deregister(rules.node, place);
}

// Of an agent's node in the catalog; of the agent that is asked if that is empty.
Task<void> ConsulCatalog::deregister(std::string agent, std::string id) {
  std::string path = "/v1/catalog/deregister", body;
  if (agent.empty()) {
    path = "/v1/agent/service/deregister/" + escaped(id);
  } else {
    body = orch::consul::deregistrationText(agent, id);
  }
  auto reply = co_await client.ask(kj::HttpMethod::PUT, path, body);
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
}

Task<void> ConsulCatalog::renewOne(std::string id) {
  auto reply = co_await client.ask(kj::HttpMethod::PUT,
                                   "/v1/agent/check/pass/" + escaped(ttlCheckOf(id)), "");
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
}

Task<void> ConsulCatalog::renew(std::vector<std::string> places) {
  for (auto& place : places) co_await renewOne(place);
}

}  // namespace orch::integration::registrator
