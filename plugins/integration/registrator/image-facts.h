// What the containers of this node have of their images: environment, labels and ports that an
// image's author has set.
#pragma once

#include <capnp/message.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/image.capnp.h"
#include "orch/task.h"

namespace orch::integration::registrator {

// On the loop's thread. Asks the image plugin, once for all containers that are new.
class ImageFacts final {
 public:
  // Both outlive it. `service`: the image plugin, which need not be there.
  ImageFacts(Env& env, Host& host, std::string service);

  // Knows these tasks from then on. False: the image plugin did not answer, and some of them are
  // taken for containers without an image until it is asked again.
  Task<bool> learn(std::vector<std::string> taskIds);
  // All others are forgotten.
  void keep(const std::set<std::string>& taskIds);
  bool isKnown(const std::string& taskId) const { return known.count(taskId) > 0; }
  // Nothing is set if the container has no image, or that is not known.
  schema::ImageConfig::Reader of(const std::string& taskId) const;

 private:
  using Facts = std::shared_ptr<capnp::MallocMessageBuilder>;  // of all tasks of one image
  Task<bool> ask(std::vector<std::string> missing);
  void take(schema::ImageStore::ListResults::Reader images,
            const std::vector<std::string>& missing);

  Env& env;
  Host& host;
  const std::string service;
  std::map<std::string, Facts> known;  // by task; null: it has none
};

}  // namespace orch::integration::registrator
