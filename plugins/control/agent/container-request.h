// From a task to what a runtime is asked for.
#pragma once

#include "orch/schema/image.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "task-record.h"

namespace orch::control::agent {

// `endpoint` is nothing for the networks `host` and `none`.
void fillContainerRequest(TaskRecord& record, schema::ImageInfo::Reader image,
                          kj::Maybe<schema::Endpoint::Reader> endpoint,
                          schema::ContainerRequest::Builder request);

}  // namespace orch::control::agent
