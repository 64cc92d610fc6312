// How objects of the cluster look in a column.
#pragma once

#include <capnp/dynamic.h>
#include <kj/string.h>

#include "orch/schema/objects.capnp.h"

namespace orch::cli {

// `*:8080->80/tcp`; an unpublished one is `80/tcp`.
kj::String portText(schema::PortSpec::Reader port);
kj::String portsText(capnp::List<schema::PortSpec>::Reader ports);

// The name that the schema gives to an enum's value: `running`, `stopFirst`.
kj::String nameOf(capnp::DynamicEnum value);

// The tag as it was written, and what it is pinned to.
kj::String imageText(schema::ContainerSpec::Reader container, bool whole);

// `web.3`; of a slot that is a node `web.` and its id.
kj::String taskName(schema::Task::Reader task);

}  // namespace orch::cli
