#include "hub-service.h"

#include <kj/debug.h>

#include <charconv>
#include <cstdio>

#include "lib/address.h"
#include "lib/uri.h"
#include "orch/attempt.h"
#include "token-file.h"

namespace orch::discovery::hub {

namespace {

constexpr int64_t DEFAULT_TTL_S = 180;  // classic Swarm's
constexpr int64_t MAX_TTL_S = 86'400;

TableLimits limitsOf(Config::Reader settings) {
  TableLimits limits;
  limits.clusters = settings.getMaxClusters();
  limits.entries = settings.getMaxEntries();
  limits.allEntries = settings.getMaxAllEntries();
  limits.forgetAfterMs = static_cast<int64_t>(settings.getForgetAfterMs());
  return limits;
}

std::string queryOf(const kj::Url& url, kj::StringPtr name) {
  for (auto& param : url.query) {
    if (param.name == name) return param.value.cStr();
  }
  return "";
}

Hub::Reply replyOf(ClusterTable::Result result) {
  switch (result) {
    case ClusterTable::Result::DONE:
      return Hub::Reply(200, "OK");
    case ClusterTable::Result::UNKNOWN:
      return Hub::Reply(404, "no such cluster");
    case ClusterTable::Result::FULL:
      return Hub::Reply(507, "too many entries");
  }
  KJ_UNREACHABLE;
}

// 32 hexadecimal digits, as classic's hub gave them.
std::string newToken(Env& env) {
  char text[33];
  snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(env.random()),
           static_cast<unsigned long long>(env.random()));
  return text;
}

// The address in a body, in its one form; empty if there is none.
std::string addressIn(const std::string& body) {
  auto text = body.substr(0, body.find_last_not_of(" \t\r\n") + 1);
  auto parsed = attemptNow([&] { return parseAddress(text); });
  return parsed.ok() ? parsed.value() : "";
}

class HubService final : public kj::HttpService {
 public:
  HubService(Env& env, Hub& hub, const kj::HttpHeaderTable& headers, std::string client)
      : env(env), hub(hub), headers(headers), client(std::move(client)) {}

  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders&,
                            kj::AsyncInputStream& body, Response& response) override {
    return env.timer().timeoutAfter(Hub::REQUEST_TIME,
                                    serve(method, url.cStr(), body, response).promise());
  }

 private:
  Task<void> serve(kj::HttpMethod method, std::string url, kj::AsyncInputStream& body,
                   Response& response) {
    Hub::Reply reply;
    auto read = co_await attempt(body.readAllText(Hub::MAX_BODY_BYTES));
    if (!read.ok()) {
      reply = Hub::Reply(413, "the body is too long");
    } else {
      std::string text = read.value().cStr();
      auto answered = co_await hub.answer(method, url, text, client);
      reply = answered;
    }
    kj::HttpHeaders head(headers);
    head.set(kj::HttpHeaderId::CONTENT_TYPE, reply.json ? "application/json" : "text/plain");
    auto out = response.send(reply.status, reply.status == 200 ? "OK"_kj : "Refused"_kj, head,
                             reply.text.size());
    if (method != kj::HttpMethod::HEAD) co_await out->write(reply.text.data(), reply.text.size());
  }

  Env& env;
  Hub& hub;
  const kj::HttpHeaderTable& headers;
  std::string client;
};

}  // namespace

Hub::Hub(Env& env, Config::Reader settings, std::string folder)
    : env(env),
      folder(std::move(folder)),
      table(limitsOf(settings)),
      requests(settings.getRequestsPerSecond(), 2.0 * settings.getRequestsPerSecond()),
      creates(settings.getCreatesPerMinute() / 60.0, settings.getCreatesPerMinute()) {}

int64_t Hub::nowMs() {
  return (env.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
}

Task<void> Hub::recover() {
  auto read = [folder = folder] { return readTokens(folder); };
  auto tokens = co_await env.workers().run(kj::mv(read));
  for (auto& token : tokens) table.add(token, nowMs());
}

Task<Hub::Reply> Hub::answer(kj::HttpMethod method, std::string url, std::string body,
                             std::string client) {
  using Method = kj::HttpMethod;
  if (!requests.allow(client, nowMs())) co_return Reply(429, "too many requests");
  auto parsed = attemptNow([&] { return kj::Url::parse(url.c_str(), kj::Url::HTTP_REQUEST); });
  if (!parsed.ok()) co_return Reply(400, "the path cannot be read");
  auto& where = parsed.value();
  bool known = (where.path.size() == 2 || where.path.size() == 3) && where.path[0] == "v1" &&
               where.path[1] == "clusters";
  if (!known) co_return Reply(404, "there is /v1/clusters and /v1/clusters/TOKEN");
  if (where.path.size() == 2) {
    if (method != Method::POST) co_return Reply(405, "accepted: POST");
    auto made = co_await create(client);
    co_return kj::mv(made);
  }
  std::string token = where.path[2].cStr();
  if (method == Method::POST) co_return put(token, body, where);
  if (method == Method::DELETE) co_return remove(token, body);
  if (method == Method::GET) co_return list(token, where);
  co_return Reply(405, "accepted: GET, POST, DELETE");
}

Task<Hub::Reply> Hub::create(std::string client) {
  if (!creates.allow(client, nowMs())) co_return Reply(429, "too many new clusters; try later");
  auto token = newToken(env);
  if (!table.create(token, nowMs())) co_return Reply(507, "too many clusters");
  // In order, so that the file is that of the last one.
  auto pass = co_await writing.enter();
  auto write = [folder = folder, tokens = table.tokens()] { writeTokens(folder, tokens); };
  auto written = co_await attempt(env.workers().run(kj::mv(write)));
  if (written.ok()) co_return Reply(200, token);
  table.drop(token);
  co_return Reply(507, std::string("the cluster could not be kept: ") + written.message().cStr());
}

Hub::Reply Hub::put(const std::string& token, const std::string& body, const kj::Url& url) {
  auto address = addressIn(body);
  if (address.empty()) return Reply(400, "the body is no address; accepted: host:port");
  int64_t ttl = DEFAULT_TTL_S;
  auto written = queryOf(url, "ttl");
  if (!written.empty()) {
    auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), ttl);
    bool good = error == std::errc() && end == written.data() + written.size();
    if (!good || ttl < 1 || ttl > MAX_TTL_S) return Reply(400, "ttl must be from 1 to 86400");
  }
  Registration entry{address, queryOf(url, "role"), queryOf(url, "digest"), queryOf(url, "node")};
  if (!isRole(entry.role) || !isPlainWord(entry.clusterDigest, 128) ||
      !isPlainWord(entry.nodeId, 64)) {
    return Reply(400, "role, digest or node cannot be read");
  }
  return replyOf(table.put(token, entry, ttl * 1000, nowMs()));
}

Hub::Reply Hub::remove(const std::string& token, const std::string& body) {
  auto address = addressIn(body);
  if (address.empty()) return Reply(400, "the body is no address; accepted: host:port");
  return replyOf(table.remove(token, address, nowMs()));
}

Hub::Reply Hub::list(const std::string& token, const kj::Url& url) {
  std::vector<Registration> all;
  auto reply = replyOf(table.list(token, all, nowMs()));
  if (reply.status != 200) return reply;
  reply.json = true;
  reply.text = jsonOf(all, queryOf(url, "details") == "1");
  return reply;
}

kj::Own<kj::HttpService> newHubService(Env& env, Hub& hub, const kj::HttpHeaderTable& headers,
                                       std::string client) {
  return kj::heap<HubService>(env, hub, headers, std::move(client));
}

}  // namespace orch::discovery::hub
