#include "lost-nodes.h"

#include "orch/attempt.h"
#include "orch/schema/cluster.capnp.h"

namespace orch::integration::registrator {

namespace {
constexpr kj::Duration FORGET_PAUSE = 5 * kj::SECONDS;
}  // namespace

class LostNodes::Sink final : public schema::EventSink::Server {
 public:
  explicit Sink(kj::Own<LostNodes> nodes) : nodes(kj::mv(nodes)) {}
  kj::Promise<void> events(EventsContext context) override {
    for (auto event : context.getParams().getEvents()) nodes->take(event);
    return kj::READY_NOW;
  }

 private:
  kj::Own<LostNodes> nodes;
};

LostNodes::LostNodes(Env& env, Host& host, Catalog& catalog)
    : env(env), host(host), catalog(catalog) {}

void LostNodes::start() {
  auto note = [this](kj::Exception&& e) {
    host.log().warn("registrator.nodes-unknown, what lost ones have left stays",
                    {{"reason", plainText(e)}});
  };
  listening = listen().promise().eagerlyEvaluate(note);
  asking = ask().promise().eagerlyEvaluate(nullptr);
  forgetting = keepForgetting().promise().eagerlyEvaluate(note);
}

void LostNodes::end() {
  ended = true;
  listening = nullptr;
  asking = nullptr;
  forgetting = nullptr;
  subscription = nullptr;
}

void LostNodes::take(schema::Event::Reader event) {
  if (event.getTopic() == "node.down") lose(event.getSubject());
  if (event.getTopic() == "node.ready") lost.erase(event.getSubject().cStr());
}

void LostNodes::lose(kj::StringPtr node) {
  if (ended || node == host.node().id) return;
  lost.insert(node.cStr());
  if (wake.get() != nullptr) wake->fulfill();
}

Task<void> LostNodes::listen() {
  auto subscribe = host.client().subscribeRequest();
  auto topics = subscribe.initTopics(2);
  topics.set(0, "node.down");
  topics.set(1, "node.ready");
  subscribe.setSink(kj::heap<Sink>(kj::addRef(*this)));
  auto subscribed = co_await subscribe.send();
  subscription = subscribed.getSubscription();
}

// Who manages nothing is told nothing.
Task<void> LostNodes::ask() {
  auto cluster = host.service<schema::ClusterControl>("cluster");
  auto asked = co_await attempt(cluster.nodesRequest().send());
  if (!asked.ok()) co_return;
  for (auto node : asked.value().getNodes()) {
    if (node.getState() == schema::Node::State::DOWN) lose(node.getMeta().getId());
  }
}

Task<void> LostNodes::keepForgetting() {
  for (;;) {
    if (lost.empty()) {
      auto pair = kj::newPromiseAndFulfiller<void>();
      wake = kj::mv(pair.fulfiller);
      co_await pair.promise;
      continue;
    }
    auto node = *lost.begin();
    auto done = co_await attempt(catalog.forgetNode(node));
    if (done.ok()) {
      lost.erase(node);
      continue;
    }
    host.log().warn("registrator.not-forgotten, trying again",
                    {{"node", node.c_str()}, {"reason", done.message()}});
    co_await env.timer().afterDelay(FORGET_PAUSE);
  }
}

}  // namespace orch::integration::registrator
