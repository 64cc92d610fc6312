// What users ask for that changes something. Each either changes the view or fails with a text for
// the user, before it has changed anything. Pure.
#pragma once

#include <kj/string.h>

#include "serve/validate.h"
#include "state/view.h"

namespace orch::control::manager {

struct Answer {
  std::string id;
  std::vector<std::string> warnings;
};

// All of them: a request id that was seen before gives the first answer again and changes nothing.
Answer createService(View& view, kj::StringPtr requestId, schema::ServiceSpec::Reader spec,
                     const Offer& offer);
// `version` 0: whatever the service is now.
Answer updateService(View& view, kj::StringPtr requestId, kj::StringPtr typed, uint64_t version,
                     schema::ServiceSpec::Reader spec, const Offer& offer);
// Beside one of these. An empty one leaves the service the login that it has.
void keepLogin(View& view, const std::string& id, kj::ArrayPtr<const kj::byte> sealed);
Answer scaleService(View& view, kj::StringPtr requestId, kj::StringPtr typed, uint32_t replicas);
// To the past spec of that number; 0: to the last. The one of now is the last then.
Answer rollbackService(View& view, kj::StringPtr requestId, kj::StringPtr typed, uint64_t to);
Answer removeService(View& view, kj::StringPtr requestId, kj::StringPtr typed);

// For requests that are decided elsewhere. The id of what the same request made before; empty if it
// is new.
std::string earlier(const View& view, kj::StringPtr requestId, kj::StringPtr method);
void remember(View& view, kj::StringPtr requestId, kj::StringPtr method,
              const std::string& resultId);

// Fails before `init`.
void requireCluster(const View& view);

// True in `created` if there was no cluster before.
Answer initCluster(View& view, kj::StringPtr requestId, kj::StringPtr name, bool& created);

}  // namespace orch::control::manager
