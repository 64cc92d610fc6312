// Services as keys of a consul, in registrator's layout: `path/NAME/ID`, with `address:port` as the
// value. What a node has written there stands below `orch/registrator` as well, with its id.
#pragma once

#include <string>
#include <vector>

#include "catalog.h"
#include "consul/client.h"

namespace orch::integration::registrator {

class ConsulKvCatalog final : public Catalog {
 public:
  // `env` outlives it. `path`: `services`; `nodeId`: of orch.
  ConsulKvCatalog(Env& env, orch::consul::ClientSettings settings, std::string path,
                  std::string nodeId);

  kj::String name() const override { return client.name(); }
  std::string placeOf(const ServiceEntry& entry) const override;
  std::string recordOf(const ServiceEntry& entry) const override;
  Task<Records> list() override;
  Task<std::string> put(ServiceEntry entry) override;
  Task<void> remove(std::string place) override;
  Task<void> renew(std::vector<std::string>) override { co_return; }
  uint64_t renewMs() const override { return 0; }
  Task<void> forgetNode(std::string nodeId) override;

 private:
  std::string keyOf(const std::string& place) const { return path + "/" + place; }
  // Where it stands what a node has written.
  std::string folderOf(const std::string& node) const;
  Task<void> removeOf(std::string node, std::string place);

  const std::string path, nodeId;
  orch::consul::Client client;
};

}  // namespace orch::integration::registrator
