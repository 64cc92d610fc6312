#include "serve/volumes.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr kj::Duration VOLUME_PATIENCE = 10 * kj::SECONDS;

// `web.1`, or the id of a task that is forgotten.
kj::String userOf(const State& state, kj::StringPtr taskId) {
  auto object = state.find(Kind::TASK, taskId.cStr());
  if (object == nullptr) return kj::str(taskId);
  TaskReader task(*object);
  return kj::str(task.getServiceName(), ".", nameOf(task.slot()).c_str());
}

void describeVolume(const State& state, schema::Volume::Reader volume, const std::string& node,
                    schema::NodeVolume::Builder out) {
  out.setName(volume.getName());
  out.setDriver(volume.getDriver());
  out.setNode(node.c_str());
  out.setPath(volume.getPath());
  out.setCreatedAtNs(volume.getCreatedAtNs());
  auto users = out.initUsedBy(volume.getUsedBy().size());
  for (uint32_t i = 0; i < users.size(); ++i) {
    users.set(i, userOf(state, volume.getUsedBy()[i]));
  }
}

template <typename List>
void setTexts(List list, const std::vector<std::string>& texts) {
  for (uint32_t i = 0; i < texts.size(); ++i) list.set(i, texts[i].c_str());
}

}  // namespace

template <typename Results>
struct VolumeQueries::Answers {
  struct One {
    std::string node;
    capnp::Response<Results> response;
  };
  std::vector<One> given;
  std::vector<std::string> missing;
};

template <typename Results, typename Make>
Task<VolumeQueries::Answers<Results>> VolumeQueries::ask(Make make) {
  using Call = Task<orch::Outcome<capnp::Response<Results>>>;
  std::vector<std::pair<std::string, Call>> calls;
  Answers<Results> answers;
  for (auto& entry : manager.state().all(Kind::NODE)) {
    auto name = text(entry.second.template as<schema::Node>().getDescription().getHostname());
    auto agent = sessions.agentOf(entry.first);
    KJ_IF_MAYBE (present, agent) {
      kj::Promise<capnp::Response<Results>> call = make(*present).send();
      calls.emplace_back(name, attempt(env.timer().timeoutAfter(VOLUME_PATIENCE, kj::mv(call))));
    } else {
      answers.missing.push_back(name + ": it has no session with the manager");
    }
  }
  for (auto& call : calls) {
    auto outcome = co_await kj::mv(call.second);
    if (outcome.ok()) {
      answers.given.push_back({call.first, kj::mv(outcome.value())});
    } else {
      answers.missing.push_back(call.first + ": " + plainText(outcome.error()).cStr());
    }
  }
  co_return kj::mv(answers);
}

Task<void> VolumeQueries::list(ListContext context) {
  auto make = [](schema::Agent::Client& agent) { return agent.volumesRequest(); };
  auto answers = co_await ask<schema::Agent::VolumesResults>(make);
  uint32_t count = 0;
  for (auto& one : answers.given) count += one.response.getVolumes().size();
  auto results = context.getResults();
  auto list = results.initVolumes(count);
  uint32_t next = 0;
  for (auto& one : answers.given) {
    for (auto volume : one.response.getVolumes()) {
      describeVolume(manager.state(), volume, one.node, list[next++]);
    }
  }
  setTexts(results.initMissing(answers.missing.size()), answers.missing);
}

Task<void> VolumeQueries::remove(RemoveContext context) {
  auto name = kj::str(context.getParams().getName());
  if (name.size() == 0) fail(kj::str("usage: the name of a volume is needed"));
  auto make = [&](schema::Agent::Client& agent) {
    auto request = agent.removeVolumeRequest();
    request.setName(name);
    return request;
  };
  auto answers = co_await ask<schema::Agent::RemoveVolumeResults>(make);
  std::vector<std::string> nodes;
  for (auto& one : answers.given) {
    if (one.response.getFound()) nodes.push_back(one.node);
  }
  // A node that refused is named, whatever the others did: the volume is still there.
  if (!answers.missing.empty()) {
    auto done = nodes.empty() ? std::string() : "; it is gone on node " + nodes[0];
    fail(kj::str("cannot remove the volume '", name, "' on node ", answers.missing[0].c_str(),
                 done.c_str()));
  }
  if (nodes.empty()) fail(kj::str("no volume '", name, "'; see 'orch volume ls'"));
  setTexts(context.getResults().initNodes(nodes.size()), nodes);
}

Task<void> VolumeQueries::prune(PruneContext context) {
  auto make = [](schema::Agent::Client& agent) { return agent.pruneVolumesRequest(); };
  auto answers = co_await ask<schema::Agent::PruneVolumesResults>(make);
  uint32_t count = 0;
  for (auto& one : answers.given) count += one.response.getRemoved().size();
  auto results = context.getResults();
  auto list = results.initRemoved(count);
  uint32_t next = 0;
  for (auto& one : answers.given) {
    for (auto name : one.response.getRemoved()) {
      list[next].setName(name);
      list[next++].setNode(one.node.c_str());
    }
  }
  setTexts(results.initMissing(answers.missing.size()), answers.missing);
}

}  // namespace orch::control::manager
