// Values with parts, as docker users write them: `8080:80/udp`, `type=bind,source=/a,target=/b`,
// `KEY=value`, `nofile=1024:2048`. Syntax only: what may be is the manager's to say. As in value.h,
// `flag` is for the error only, and a wrong text fails with one line.
#pragma once

#include <capnp/orphan.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <functional>

#include "orch/schema/objects.capnp.h"

namespace orch::cli {

struct Pair {
  kj::String key;
  kj::String value;
};

// `key=value`; `key` alone has an empty value. An empty key is refused.
Pair parseLabel(kj::StringPtr flag, kj::StringPtr text);

// `KEY=value` as it is; `KEY` alone takes the value from `lookUp` (the caller's environment) and is
// left out (an empty result) if there is none.
using LookUp = std::function<const char*(kj::StringPtr)>;
kj::String parseEnv(kj::StringPtr flag, kj::StringPtr text, const LookUp& lookUp);

// The lines of an --env-file: as parseEnv; empty lines and those that begin with `#` are skipped.
// `name` is that of the file.
kj::Vector<kj::String> parseEnvFile(kj::StringPtr name, kj::StringPtr content,
                                    const LookUp& lookUp);

// Short `[published:]target[/protocol]`, where both may be ranges of one length, or long
// `published=,target=,protocol=,mode=`. Adds one port, or one for each of a range.
using Ports = kj::Vector<capnp::Orphan<schema::PortSpec>>;
void parsePorts(kj::StringPtr flag, kj::StringPtr text, capnp::Orphanage orphanage, Ports& ports);

// `type=…,source=…,target=…,…`; a field with a comma is put in double quotes.
capnp::Orphan<schema::Mount> parseMount(kj::StringPtr flag, kj::StringPtr text,
                                        capnp::Orphanage orphanage);

// `NETWORK` or `[name=]NETWORK[,alias=NAME…]`.
capnp::Orphan<schema::NetworkAttachment> parseNetwork(kj::StringPtr flag, kj::StringPtr text,
                                                      capnp::Orphanage orphanage);

// `name=soft[:hard]`, -1 for unlimited.
void parseUlimit(kj::StringPtr flag, kj::StringPtr text, schema::Ulimit::Builder out);

// Words as a shell splits them: quotes and backslashes, nothing is expanded.
kj::Vector<kj::String> splitWords(kj::StringPtr flag, kj::StringPtr text);

// The fields of a line of comma-separated values with double quotes.
kj::Vector<kj::String> splitFields(kj::StringPtr flag, kj::StringPtr text);

}  // namespace orch::cli
