// The services of one agent of consul; or of a node of consul's catalog that has no agent.
#pragma once

#include <string>
#include <vector>

#include "catalog.h"
#include "consul/client.h"
#include "consul/services.h"
#include "orch/host.h"

namespace orch::integration::registrator {

// A shorter one would be over between two renewals on a busy node.
constexpr uint64_t LEAST_TTL_MS = 3'000;

struct ConsulRules {
  std::string nodeId;  // of orch: what has it in its meta, this node has registered
  std::string
      node;  // of consul's, without an agent; empty: services are those of the agent that is asked
  bool scripts = false;  // see checkOf
  uint64_t ttlMs = 0;    // a service that is not renewed for so long is critical; 0: it stays
};

class ConsulCatalog final : public Catalog {
 public:
  // Keys of a service's meta.
  static constexpr const char* NODE = "orch-node";
  static constexpr const char* TASK = "orch-task";
  static constexpr const char* CHECKS =
      "orch-checks";  // a digest of them: they cannot be read back

  // `env` and `log` outlive it.
  ConsulCatalog(Env& env, Log& log, orch::consul::ClientSettings settings, ConsulRules rules);

  kj::String name() const override { return client.name(); }
  std::string placeOf(const ServiceEntry& entry) const override { return entry.id; }
  std::string recordOf(const ServiceEntry& entry) const override;
  Task<Records> list() override;
  Task<std::string> put(ServiceEntry entry) override;
  Task<void> remove(std::string place) override;
  Task<void> renew(std::vector<std::string> places) override;
  uint64_t renewMs() const override { return rules.node.empty() ? rules.ttlMs / 3 : 0; }
  Task<void> forgetNode(std::string nodeId) override;

 private:
  enum class Owner { NOBODY, THIS_NODE, ANOTHER };
  std::vector<orch::consul::ServiceCheck> checksOf(const ServiceEntry& entry) const;
  orch::consul::RegisteredService serviceOf(const ServiceEntry& entry) const;
  // Why a check that a container asks for is not there; empty: it is, or none was asked for.
  std::string refusedCheck(const ServiceEntry& entry) const;
  Task<Owner> ownerOf(std::string id);
  Task<std::string> get(std::string path);
  Task<std::vector<orch::consul::RegisteredService>> servicesOf(std::string nodeId);
  // Of whatever agent: that of a lost host is lost as well, and its services stay in the catalog.
  Task<void> forgetInCatalog(std::string agent, std::string nodeId);
  Task<void> deregister(std::string agent, std::string id);
  Task<void> renewOne(std::string id);

  Env& env;
  Log& log;
  const ConsulRules rules;
  orch::consul::Client client;
};

}  // namespace orch::integration::registrator
