#include "place.h"

#include "lib/key-place.h"

namespace orch::discovery::consul {

Place parsePlace(std::string_view uri, std::string_view path, bool tls) {
  auto parsed = parseKeyPlace({"consul", ":8500"}, uri, path, tls);
  Place place;
  for (auto& host : parsed.hosts) {
    place.named += (place.named.empty() ? "consul at '" : ", '") + host + "'";
  }
  for (auto& url : parsed.urls()) place.endpoints.push_back(http::Endpoint::parse(url));
  place.nodes = parsed.nodes;
  place.details = parsed.details;
  return place;
}

}  // namespace orch::discovery::consul
