// What a user may plan, made on a view as the request itself would be: with the same checks, and
// refused in the same words.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "serve/service-requests.h"

namespace orch::control::manager {

// Where it is asked.
struct PlannedRequest {
  kj::StringPtr requestId;  // of this change alone
  kj::StringPtr self;       // id of the node that is called `self`
};

// Answers the service that it is about, if it is about one.
Answer makeChange(View& view, const PlannedRequest& request, schema::PlannedChange::Reader change,
                  const Offer& offer);
// Fails unless it can be made, and not only be imagined.
void requireReal(schema::PlannedChange::Reader change);
// As if the node had been found to be down just now.
void loseNode(View& view, const std::string& nodeId);

}  // namespace orch::control::manager
