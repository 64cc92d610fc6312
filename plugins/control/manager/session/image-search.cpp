// Where a node finds an image that it lacks.
#include <algorithm>

#include "orch/fail.h"
#include "orch/image-reference.h"
#include "session/connection.h"
#include "session/image-needs.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_SOURCES = 5;  // of an image that one node is told of
}  // namespace

// Only of what the node is to run, and of what a source offers: nothing else can be reached so.
void Sessions::findImage(Connection& asking, FindContext context) {
  auto digest = context.getParams().getDigest();
  if (!isDigest(view(digest)) || !runsImage(manager.state(), asking.nodeId, digest)) {
    refused(asking.nodeId, "it asks for an image that no task of it runs", "");
    fail(kj::str("no task of this node runs an image of that digest"));
  }
  std::vector<Connection*> sources;
  for (auto& nodeId : offers.nodesWith(digest.cStr())) {
    auto it = connections.find(nodeId);
    bool there = it != connections.end() && !it->second->over && nodeId != asking.nodeId;
    if (there) sources.push_back(it->second.get());
  }
  // By chance, so that those who ask at once do not all ask the same one.
  for (size_t i = sources.size(); i > 1; --i) std::swap(sources[i - 1], sources[env.random() % i]);
  sources.resize(std::min(sources.size(), MAX_SOURCES));
  auto list = context.getResults().initSources(sources.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setNode(hostnameOf(sources[i]->nodeId));
    list[i].setImage(newImageRelay(kj::addRef(owner), env, relayPlaces,
                                   kj::addRef(*sources[i]->images), digest));
  }
}

}  // namespace orch::control::manager
