// Names that have a syntax: of services, hosts, capabilities, signals. As in value.h.
#pragma once

#include <kj/string.h>

namespace orch::cli {

// [a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}
kj::String parseServiceName(kj::StringPtr flag, kj::StringPtr text);
// Labels of letters, digits and hyphens, with dots between them; at most 63 characters.
kj::String parseHostname(kj::StringPtr flag, kj::StringPtr text);
// `NET_ADMIN`, `cap_net_admin` or `ALL`; in capitals, without `CAP_`.
kj::String parseCapability(kj::StringPtr flag, kj::StringPtr text);
// `SIGTERM`, `TERM` or `15`.
kj::String parseSignal(kj::StringPtr flag, kj::StringPtr text);
// An absolute path.
kj::String parsePath(kj::StringPtr flag, kj::StringPtr text);
// Not empty and without spaces: users, groups, networks, runtimes, images.
kj::String parseWord(kj::StringPtr flag, kj::StringPtr text, kj::StringPtr expected);

}  // namespace orch::cli
