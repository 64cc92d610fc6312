// What is filled in for each task: `{{.Node.Hostname}}` and the like in environment variables, the
// host name and mounts, as swarm mode has it. What stands for a name is text, whatever it looks
// like. Pure.
#pragma once

#include <kj/string.h>

#include "orch/schema/objects.capnp.h"

namespace orch::control {

struct TemplateFacts {
  kj::StringPtr serviceId;
  kj::StringPtr serviceName;
  capnp::List<schema::KeyValue>::Reader serviceLabels;
  kj::StringPtr nodeId;
  kj::StringPtr hostname;
  kj::StringPtr os;
  kj::StringPtr architecture;
  kj::StringPtr taskId;
  kj::StringPtr taskName;  // `web.1.<id>`
  kj::String slot;         // of a global service its node
};

// `.Service.ID`, `.Name`, `.Labels`; `.Node.ID`, `.Hostname`, `.Platform.OS`, `.Architecture`;
// `.Task.ID`, `.Name`, `.Slot`; the functions join (what stands between first), index, eq, ne, len,
// lower, upper, title, print and println; the rest as in orch/template-syntax.h. Fails with
// `usage: …`, which begins with `what` and has the column; so does a label that there is not.
// At most 64 KiB come of it, and of all of a spec together.
kj::String fillTemplate(kj::StringPtr what, kj::StringPtr text, const TemplateFacts& facts);
// In all places of the spec that may have one.
void fillTemplates(schema::ContainerSpec::Builder container, const TemplateFacts& facts);
bool hasTemplates(schema::ContainerSpec::Reader container);
// The same for some task of a service that is not there yet; what would not be printed is checked
// as well.
void tryTemplates(schema::ContainerSpec::Builder container, kj::StringPtr serviceName,
                  capnp::List<schema::KeyValue>::Reader serviceLabels);

}  // namespace orch::control
