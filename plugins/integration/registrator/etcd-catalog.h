// Services as keys of an etcd, in registrator's layout: `/path/NAME/ID`, with `address:port` as the
// value, or in that of SkyDNS 2. What a node has written there stands below `/orch/registrator` as
// well, with its id.
#pragma once

#include <string>
#include <vector>

#include "catalog.h"
#include "etcd/client.h"

namespace orch::integration::registrator {

struct EtcdRules {
  std::string path;     // `/services`, or nothing
  std::string nodeId;   // of orch
  uint64_t ttlMs = 0;   // keys that are not renewed for so long go; 0: they stay
  bool skydns = false;  // values are what SkyDNS and CoreDNS read, and ids are host names
};

class EtcdCatalog final : public Catalog {
 public:
  static constexpr uint64_t MAX_KEYS = 10'000;

  // `env` outlives it.
  EtcdCatalog(Env& env, const std::vector<http::Endpoint>& endpoints, const http::TlsFiles& files,
              kj::Duration timeout, EtcdRules rules);
  void open(std::string user, std::string password) override {
    client.logIn(std::move(user), std::move(password));
  }

  kj::String name() const override { return client.name(); }
  std::string placeOf(const ServiceEntry& entry) const override;
  std::string recordOf(const ServiceEntry& entry) const override;
  Task<Records> list() override;
  Task<std::string> put(ServiceEntry entry) override;
  Task<void> remove(std::string place) override;
  Task<void> renew(std::vector<std::string> places) override;
  uint64_t renewMs() const override { return rules.ttlMs / 3; }
  Task<void> forgetNode(std::string nodeId) override;

 private:
  std::string keyOf(const std::string& place) const { return rules.path + "/" + place; }
  // Where it stands what a node has written.
  std::string folderOf(const std::string& nodeId) const;
  std::string valueOf(const ServiceEntry& entry) const;
  Task<void> removeOf(std::string nodeId, std::string place);
  Task<std::string> write(std::string place, std::string value, uint64_t changedAt);

  const EtcdRules rules;
  orch::etcd::Client client;
  uint64_t lease = 0;  // that keys go with
};

// `10.0.0.1:80`, `[fd00::1]:80`
std::string hostPortOf(const ServiceEntry& entry);

}  // namespace orch::integration::registrator
