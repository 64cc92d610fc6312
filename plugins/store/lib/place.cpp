#include "lib/place.h"

namespace orch::store {

std::string uriOf(std::string_view scheme, const std::vector<std::string>& servers,
                  std::string_view prefix) {
  while (prefix.starts_with('/')) prefix.remove_prefix(1);
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  auto uri = std::string(scheme) + "://";
  for (auto& server : servers) uri += (&server == &servers.front() ? "" : ",") + server;
  return uri + "/" + std::string(prefix);
}

}  // namespace orch::store
