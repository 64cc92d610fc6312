// Services as nodes of a ZooKeeper, in registrator's layout: `/path/NAME/ADDRESS:PORT`, with a JSON
// text of what is known of it as the value. They end with this node's session.
#pragma once

#include <string>
#include <vector>

#include "catalog.h"
#include "orch/env.h"
#include "zookeeper/client.h"

namespace orch::integration::registrator {

struct ZookeeperRules {
  std::string path;    // `/services`, or nothing
  std::string nodeId;  // of orch: stands in the values of this node
  kj::Duration timeout;
};

class ZookeeperCatalog final : public Catalog {
 public:
  // `env` outlives it. Connects with `open`.
  ZookeeperCatalog(Env& env, orch::zookeeper::ClientSettings settings, ZookeeperRules rules);
  void open(std::string user, std::string password) override;

  kj::String name() const override;
  std::string placeOf(const ServiceEntry& entry) const override;
  std::string recordOf(const ServiceEntry& entry) const override;
  Task<Records> list() override;
  Task<std::string> put(ServiceEntry entry) override;
  Task<void> remove(std::string place) override;
  Task<void> renew(std::vector<std::string> places) override;
  // Another session has nothing of what this one had.
  uint64_t renewMs() const override { return 1'000; }
  Task<void> forgetNode(std::string nodeId) override;

 private:
  orch::zookeeper::Client& client();
  kj::Promise<void> reached();
  Task<void> makeFolder(std::string path);
  // By place, those that the node has written.
  Task<std::map<std::string, orch::zookeeper::Read>> readOf(std::string nodeId);
  Task<void> readFolder(std::string name, std::string nodeId,
                        std::map<std::string, orch::zookeeper::Read>& found);
  Task<void> removeOf(std::string nodeId, std::string place);

  Env& env;
  orch::zookeeper::ClientSettings settings;
  const ZookeeperRules rules;
  kj::Maybe<orch::zookeeper::Client> connection;
  uint64_t session = 0;  // that the last list is of
};

// As registrator writes it; `nodeId` is one of its attributes.
std::string znodeText(const ServiceEntry& entry, const std::string& nodeId);

}  // namespace orch::integration::registrator
