// What is registered of a task: one entry for each of its ports, with the names, ids and tags that
// gliderlabs/registrator would give it. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "orch/schema/integration.capnp.h"
#include "orch/schema/runtime.capnp.h"

namespace orch::integration::registrator {

struct ServiceEntry {
  std::string id;
  std::string name;
  std::string address;
  uint16_t port = 0;
  std::vector<std::string> tags;
  std::map<std::string, std::string> attributes;  // `region` of SERVICE_REGION
  uint16_t privatePort = 0;                       // in the container
  std::string taskId;

  bool operator==(const ServiceEntry&) const = default;
};

struct EntryRules {
  std::string hostname;
  std::string address;            // of the node; empty: published ports are not registered
  bool internal = false;          // ports and addresses of containers
  bool explicitOnly = false;      // only what has a SERVICE_NAME
  bool keepFailed = false;        // an entry stays when its container has failed
  std::string addressLabel;       // a container's label with the address in it; empty: none
  std::vector<std::string> tags;  // of every entry
};

// `image`: what the container has of its image; nothing of it has to be there.
std::vector<ServiceEntry> entriesOf(schema::TaskEntry::Reader task,
                                    schema::ImageConfig::Reader image, const EntryRules& rules);

// `web.1.<id>`, as `docker ps` would call it.
std::string containerName(schema::Task::Reader task);

}  // namespace orch::integration::registrator
