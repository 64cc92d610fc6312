#include "changes.h"

#include <algorithm>

#include "documents.h"
#include "metrics.h"
#include "orch/amounts.h"
#include "orch/fail.h"
#include "readings.h"

namespace orch::api::http {

namespace {

using Cluster = schema::ClusterControl;
constexpr std::pair<const char*, const char*> KNOWN[] = {
    {"services", "scale"}, {"services", "rollback"}, {"nodes", "availability"}};

}  // namespace

bool Changes::isOne(const std::string& kind, const std::string& what) {
  return std::any_of(std::begin(KNOWN), std::end(KNOWN),
                     [&](auto& known) { return kind == known.first && what == known.second; });
}

std::string Changes::keyOf(const Request& request) {
  auto& key = request.idempotencyKey;
  if (key.empty()) return env.newId().cStr();
  bool printable = std::all_of(key.begin(), key.end(), [](char c) { return c > 32 && c < 127; });
  if (key.size() > MAX_KEY_CHARACTERS || !printable) {
    fail(kj::str("usage: the Idempotency-Key may have ", MAX_KEY_CHARACTERS,
                 " printable characters"));
  }
  return key;
}

Task<void> Changes::make(Exchange& exchange, std::string id, std::string what) {
  auto key = keyOf(exchange.request);
  host.log().info("changed over HTTP", {{"what", exchange.request.path.c_str()}});
  auto begun = begin(exchange.request, id, key, what).promise();
  auto late = env.timer().afterDelay(patience).then(
      [this]() -> kj::Promise<std::string> { return noAnswerWithin(patience); });
  Answer answer;
  answer.body = co_await begun.exclusiveJoin(kj::mv(late));
  exchange.answer(std::move(answer));
}

Task<std::string> Changes::begin(const Request& request, std::string id, std::string key,
                                 std::string what) {
  if (what == "scale") return scale(request, id, key);
  if (what == "rollback") return rollback(id, key);
  return setAvailability(request, id, key);
}

Task<std::string> Changes::scale(const Request& request, std::string id, std::string key) {
  auto text = request.parameter("replicas");
  auto replicas = readDigits(text);
  if (!replicas || *replicas > UINT32_MAX) {
    fail(kj::str("usage: replicas is '", text.c_str(), "'; accepted: a number, ?replicas=3"));
  }
  auto call = host.service<Cluster>("cluster").scaleServiceRequest();
  call.setRequestId(key.c_str());
  call.setId(id.c_str());
  call.setReplicas(static_cast<uint32_t>(*replicas));
  auto response = co_await call.send();
  auto writing = oneText<Cluster::ScaleServiceResults>(env, response);
  co_return co_await kj::mv(writing);
}

Task<std::string> Changes::rollback(std::string id, std::string key) {
  auto call = host.service<Cluster>("cluster").rollbackServiceRequest();
  call.setRequestId(key.c_str());
  call.setId(id.c_str());
  auto response = co_await call.send();
  auto writing = oneText<Cluster::RollbackServiceResults>(env, response);
  co_return co_await kj::mv(writing);
}

Task<std::string> Changes::setAvailability(const Request& request, std::string id,
                                           std::string key) {
  auto wanted = request.parameter("to");
  auto call = host.service<Cluster>("cluster").updateNodeRequest();
  bool known = false;
  for (uint16_t i = 0; i < capnp::Schema::from<schema::Node::Availability>().getEnumerants().size();
       ++i) {
    auto availability = static_cast<schema::Node::Availability>(i);
    if (nameOf(availability) != wanted) continue;
    call.initChange().getAvailability().setSet(availability);
    known = true;
  }
  if (!known) {
    fail(kj::str("usage: to is '", wanted.c_str(), "'; accepted: ?to=active, pause or drain"));
  }
  call.setRequestId(key.c_str());
  call.setId(id.c_str());
  auto response = co_await call.send();
  auto writing = oneText<Cluster::UpdateNodeResults>(env, response);
  co_return co_await kj::mv(writing);
}

}  // namespace orch::api::http
