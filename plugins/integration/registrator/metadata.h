// What a container says of its services in its environment and its labels: SERVICE_NAME,
// SERVICE_80_TAGS and the like, as gliderlabs/registrator reads them. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orch::integration::registrator {

struct Metadata {
  // What stands behind SERVICE_, in small letters, without the number of a port: `name`,
  // `check_http`.
  std::map<std::string, std::string> values;
  // Those that were said of this port alone; what is said of all ports does not count then.
  std::set<std::string> ofPort;

  // What is empty was not said.
  std::string_view get(const std::string& key) const;
};

// Of one port of the container. What comes later in `said` (key, value) replaces what is before it.
Metadata metadataOf(const std::vector<std::pair<std::string, std::string>>& said, uint16_t port);

// Between commas, without empty ones; a comma behind a backslash is one of the tag.
std::vector<std::string> tagsOf(std::string_view text);

}  // namespace orch::integration::registrator
