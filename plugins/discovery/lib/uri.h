// The URIs of `[node] discovery`. Pure.
#pragma once

#include <string>
#include <string_view>

namespace orch::discovery {

struct Uri {
  std::string scheme;  // lower case; empty: there is none, as in a bare list of hosts
  std::string rest;    // after `://`
};
Uri splitUri(std::string_view text);

// Of `file://`. Fails unless it is an absolute path.
std::string parseFileUri(std::string_view text);

// A cluster at a hub, or only a hub: where classic Swarm's `token://host/path/TOKEN` leads.
struct HubUri {
  std::string base;   // `https://host:port/v1`
  std::string named;  // the same as one writes it: `token://host:port/v1`
  std::string token;  // empty: none yet
  std::string cluster() const { return base + "/clusters/" + token; }
};
// `token://host[:port]/path/TOKEN` speaks HTTPS, `token+http://…` plain HTTP. Without a token, for
// creating one, `token://host[:port][/path]/`; the path is `v1` if there is none. A bare
// `token://TOKEN` was classic's public hub, which is shut, and is refused with that reason, as a
// token that is not of [A-Za-z0-9_-], at most 128 of them.
HubUri parseHubUri(std::string_view text);
// The one of a hub, with or without a `/` behind it: for those who have no token.
HubUri parseHub(std::string_view text);
bool isToken(std::string_view text);

}  // namespace orch::discovery
