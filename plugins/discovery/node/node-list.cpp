#include "node-list.h"

#include "lib/address.h"
#include "lib/uri.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::node {

std::vector<std::string> addressesOf(Config::Reader settings) {
  std::string list;
  if (settings.getUri().size() > 0) {
    auto uri = splitUri(settings.getUri().cStr());
    if (!uri.scheme.empty() && uri.scheme != "node" && uri.scheme != "nodes") {
      fail(kj::str("uri is '", settings.getUri(), "'; accepted: node://host:port,host:port"));
    }
    auto parsed = attemptNow([&] { return parseHostList(uri.rest); });
    if (!parsed.ok()) fail(kj::str("uri: ", parsed.message()));
    list = uri.rest;
  }
  for (auto entry : settings.getEntries()) list += kj::str(",", entry).cStr();
  auto all = attemptNow([&] { return parseHostList(list); });
  if (!all.ok()) fail(kj::str("entries: ", all.message()));
  if (all.value().empty()) {
    fail(kj::str("uri and entries name no host; accepted: node://host:port,10.0.0.[10:200]:2377"));
  }
  return kj::mv(all.value());
}

}  // namespace orch::discovery::node
