// What all commands that remove operands of theirs in the cluster have: each by itself, the name is
// shown when it is gone, and one that fails leaves the others their turn.
#pragma once

#include "arguments.h"
#include "command.h"
#include "connection.h"

namespace orch::cli {

// `make(cluster, name)` is the request but for its id. `then`: as of Connection::change.
template <typename R, typename Make>
Task<int> removeEach(Context& context, Make make, kj::StringPtr then) {
  for (auto& name : context.args.operands()) {
    auto requestId = context.env.newId();
    auto removing = context.connection.change<R>(
        [&](schema::ClusterControl::Client& cluster) {
          auto request = make(cluster, name);
          request.setRequestId(requestId);
          return request.send();
        },
        then);
    auto removed = co_await attempt(kj::mv(removing));
    if (removed.ok()) {
      context.out.line(name);
    } else {
      context.failed(removed.error());
    }
  }
  co_return context.status;
}

}  // namespace orch::cli
