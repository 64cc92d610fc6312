// From a task to what a runtime is asked for.
#pragma once

#include "orch/schema/image.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "task-record.h"

namespace orch::control::agent {

// What templates may say of the node.
struct NodeIdentity {
  kj::StringPtr hostname;
  kj::StringPtr architecture;
};

// `image` is nothing for a runtime that uses none, `endpoint` for the networks `host` and `none`.
// Templates in the spec are filled in; fails if one cannot be.
void fillContainerRequest(TaskRecord& record, const NodeIdentity& node,
                          kj::Maybe<schema::ImageInfo::Reader> image,
                          kj::Maybe<schema::Endpoint::Reader> endpoint,
                          schema::ContainerRequest::Builder request);
// The templates alone, of a copy of the task's spec. Fails if one cannot be filled in.
void fillTemplates(TaskRecord& record, const NodeIdentity& node,
                   schema::ContainerSpec::Builder container);
// About how much room that takes.
capnp::MessageSize sizeOfContainerRequest(TaskRecord& record,
                                          kj::Maybe<schema::ImageInfo::Reader> image);

}  // namespace orch::control::agent
