// From a task to what a runtime is asked for.
#pragma once

#include "orch/schema/image.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "task-record.h"

namespace orch::control::agent {

// `image` is nothing for a runtime that uses none, `endpoint` for the networks `host` and `none`.
void fillContainerRequest(TaskRecord& record, kj::Maybe<schema::ImageInfo::Reader> image,
                          kj::Maybe<schema::Endpoint::Reader> endpoint,
                          schema::ContainerRequest::Builder request);
// About how much room that takes.
capnp::MessageSize sizeOfContainerRequest(TaskRecord& record,
                                          kj::Maybe<schema::ImageInfo::Reader> image);

}  // namespace orch::control::agent
