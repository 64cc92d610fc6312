#include "readings.h"

namespace orch::api::http {

Readings::Readings(Env& env, Host& host, kj::Duration patience)
    : env(env), host(host), patience(patience) {}

schema::ClusterControl::Client Readings::cluster() {
  return host.service<schema::ClusterControl>("cluster");
}

schema::Kernel::Client Readings::kernel() { return host.service<schema::Kernel>("kernel"); }

kj::Exception noAnswerWithin(kj::Duration patience) {
  return KJ_EXCEPTION(OVERLOADED,
                      kj::str("no answer within ", patience / kj::MILLISECONDS,
                              " ms; 'orch plugin ls' says whether control.manager runs, and "
                              "'orch cluster status' whether somebody leads"));
}

Readings::Answer<Readings::Cluster::TasksResults> Readings::tasks(kj::StringPtr service,
                                                                  kj::StringPtr node,
                                                                  kj::StringPtr desired) {
  auto request = cluster().tasksRequest();
  auto filter = request.initFilter();
  filter.setServiceId(service);
  filter.setNodeId(node);
  filter.setDesired(desired);
  return inTime(kj::mv(request));
}

Readings::Answer<Readings::Cluster::UsageResults> Readings::usage() {
  auto request = cluster().usageRequest();
  request.setNodes(true);
  return inTime(kj::mv(request));
}

kj::Promise<void> Readings::events(int64_t sinceNs, capnp::List<capnp::Text>::Reader topics,
                                   schema::EventSink::Client sink) {
  auto request = kernel().eventsRequest();
  request.setSinceNs(sinceNs);
  request.setFollow(true);
  request.setTopics(topics);
  request.setSink(kj::mv(sink));
  return request.send().ignoreResult();
}

kj::Promise<void> Readings::logs(kj::StringPtr id, schema::LogOptions::Reader options,
                                 schema::LogSink::Client sink) {
  auto request = cluster().logsRequest();
  request.setId(id);
  request.setOptions(options);
  request.setSink(kj::mv(sink));
  return request.send().ignoreResult();
}

Task<int64_t> Readings::kernelAnswerNs() {
  int64_t begun = env.nowNs();
  auto answer = inTime(host.client().nodeRequest());
  auto node = co_await answer;
  co_return kj::max(env.nowNs() - begun, int64_t(0));
}

}  // namespace orch::api::http
