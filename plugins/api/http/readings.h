// What api.http may ask: all that there is here, and nothing that changes anything. The services
// themselves allow more; nobody else in the plugin holds them. Every question has a deadline.
#pragma once

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/task.h"

namespace orch::api::http {

// What is said instead of an answer that does not come.
kj::Exception noAnswerWithin(kj::Duration patience);

class Readings final {
 public:
  // Both outlive it.
  Readings(Env& env, Host& host, kj::Duration patience);

  using Cluster = schema::ClusterControl;
  template <typename Results>
  using Answer = kj::Promise<capnp::Response<Results>>;

  Answer<Cluster::InfoResults> info() { return inTime(cluster().infoRequest()); }
  Answer<Cluster::StatusResults> status() { return inTime(cluster().statusRequest()); }
  Answer<Cluster::ServicesResults> services() { return inTime(cluster().servicesRequest()); }
  Answer<Cluster::ServiceResults> service(kj::StringPtr id) {
    return named(cluster().serviceRequest(), id);
  }
  Answer<Cluster::ProgressResults> progress(kj::StringPtr id) {
    return named(cluster().progressRequest(), id);
  }
  // Ids of a service and a node, and `desired`, as in TaskFilter.
  Answer<Cluster::TasksResults> tasks(kj::StringPtr service, kj::StringPtr node,
                                      kj::StringPtr desired);
  Answer<Cluster::TaskResults> task(kj::StringPtr id) { return named(cluster().taskRequest(), id); }
  Answer<Cluster::WhyResults> why(kj::StringPtr id) { return named(cluster().whyRequest(), id); }
  Answer<Cluster::NodesResults> nodes() { return inTime(cluster().nodesRequest()); }
  Answer<Cluster::NodeResults> node(kj::StringPtr id) { return named(cluster().nodeRequest(), id); }
  Answer<Cluster::NetworksResults> networks() { return inTime(cluster().networksRequest()); }
  Answer<Cluster::NetworkResults> network(kj::StringPtr id) {
    return named(cluster().networkRequest(), id);
  }
  Answer<Cluster::VolumesResults> volumes() { return inTime(cluster().volumesRequest()); }
  // Of all tasks and nodes: one call to each node.
  Answer<Cluster::UsageResults> usage();
  Answer<schema::Kernel::PluginsResults> plugins() { return inTime(kernel().pluginsRequest()); }

  // Without a deadline, for as long as somebody listens.
  kj::Promise<void> events(int64_t sinceNs, capnp::List<capnp::Text>::Reader topics,
                           schema::EventSink::Client sink);
  kj::Promise<void> logs(kj::StringPtr id, schema::LogOptions::Reader options,
                         schema::LogSink::Client sink);

  // How long the kernel takes to answer the smallest question.
  Task<int64_t> kernelAnswerNs();
  const NodeFacts& node() { return host.node(); }

 private:
  schema::ClusterControl::Client cluster();
  schema::Kernel::Client kernel();
  template <typename Params, typename Results>
  Answer<Results> inTime(capnp::Request<Params, Results> request) {
    Answer<Results> answer = request.send();
    auto late = env.timer().afterDelay(patience).then(
        [this]() -> Answer<Results> { return noAnswerWithin(patience); });
    return answer.exclusiveJoin(kj::mv(late));
  }
  template <typename Params, typename Results>
  Answer<Results> named(capnp::Request<Params, Results> request, kj::StringPtr id) {
    request.setId(id);
    return inTime(kj::mv(request));
  }

  Env& env;
  Host& host;
  const kj::Duration patience;
};

}  // namespace orch::api::http
