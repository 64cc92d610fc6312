#include "session/image-needs.h"

#include <algorithm>
#include <set>

#include "state/task-reader.h"

namespace orch::control::manager {

bool runsImage(const State& state, const std::string& nodeId, kj::StringPtr digest) {
  auto tasks = state.tasksOf(nodeId);
  auto inName = kj::str("@", digest);
  return std::any_of(tasks.begin(), tasks.end(), [&](auto& id) {
    auto object = state.find(Kind::TASK, id);
    if (object == nullptr) return false;
    auto container = TaskReader(*object).getSpec().getContainer();
    return container.getImageDigest() == digest || container.getImage().endsWith(inName);
  });
}

void fillImageLimit(const State& state, schema::Session::ImageLimitResults::Builder results) {
  for (auto& entry : state.all(Kind::CLUSTER)) {
    results.setBytes(entry.second.as<schema::Cluster>().getImageLimitBytes());
  }
  if (results.getBytes() == 0) return;
  std::set<std::string> needed;
  for (auto& entry : state.all(Kind::SERVICE)) {
    auto service = entry.second.as<schema::Service>();
    for (auto spec : {service.getSpec(), service.getPreviousSpec()}) {
      auto container = spec.getTask().getContainer();
      auto pin = container.getImageDigest();
      if (container.getImage().size() == 0) continue;  // there was no update yet
      needed.insert(kj::str(container.getImage(), pin.size() > 0 ? "@" : "", pin).cStr());
    }
  }
  auto list = results.initNeeded(needed.size());
  uint32_t i = 0;
  for (auto& reference : needed) list.set(i++, reference.c_str());
}

}  // namespace orch::control::manager
