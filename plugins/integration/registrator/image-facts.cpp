#include "image-facts.h"

#include <algorithm>
#include <utility>

#include "orch/attempt.h"

namespace orch::integration::registrator {

namespace {
constexpr kj::Duration IMAGES_LIMIT = 2 * kj::SECONDS;
}  // namespace

ImageFacts::ImageFacts(Env& env, Host& host, std::string service)
    : env(env), host(host), service(std::move(service)) {}

Task<bool> ImageFacts::learn(std::vector<std::string> taskIds) {
  std::erase_if(taskIds, [&](auto& id) { return known.count(id) > 0; });
  if (taskIds.empty()) co_return true;
  co_return co_await ask(std::move(taskIds));
}

void ImageFacts::keep(const std::set<std::string>& taskIds) {
  std::erase_if(known, [&](auto& pair) { return taskIds.count(pair.first) == 0; });
}

Task<bool> ImageFacts::ask(std::vector<std::string> missing) {
  auto request = host.client().servicesRequest();
  request.setPrefix(service.c_str());
  auto running = co_await attempt(request.send());
  bool there = running.ok() && running.value().getNames().size() > 0;
  if (!there) co_return false;
  auto images = host.service<schema::ImageStore>(service.c_str());
  kj::Promise<capnp::Response<schema::ImageStore::ListResults>> asking =
      images.listRequest().send();
  auto limited = env.timer().timeoutAfter(IMAGES_LIMIT, kj::mv(asking));
  auto listed = co_await attempt(kj::mv(limited));
  if (!listed.ok()) co_return false;
  take(listed.value(), missing);
  co_return true;
}

void ImageFacts::take(schema::ImageStore::ListResults::Reader images,
                      const std::vector<std::string>& missing) {
  for (auto& id : missing) known[id] = nullptr;
  for (auto image : images.getImages()) {
    Facts facts;
    for (auto holder : image.getHolders()) {
      auto found = known.find(holder.cStr());
      if (found == known.end() || found->second != nullptr) continue;
      if (facts == nullptr) {
        auto config = image.getConfig();
        facts = std::make_shared<capnp::MallocMessageBuilder>(config.totalSize().wordCount + 1);
        facts->setRoot(config);
      }
      found->second = facts;
    }
  }
}

schema::ImageConfig::Reader ImageFacts::of(const std::string& taskId) const {
  auto found = known.find(taskId);
  if (found == known.end() || found->second == nullptr) return {};
  return found->second->getRoot<schema::ImageConfig>().asReader();
}

}  // namespace orch::integration::registrator
