#include "api-site.h"

#include <arpa/inet.h>
#include <strings.h>

#include "metrics.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "page.h"
#include "streams.h"

namespace orch::api::http {

namespace {

constexpr const char* PATHS =
    "there are /metrics, /metrics/usage, /v1/info, /v1/status, /v1/plugins, /v1/nodes, "
    "/v1/services, /v1/tasks, "
    "/v1/networks, /v1/volumes and /v1/events";

constexpr const char* TOO_MANY_STREAMS = "too many streams are open; at most 64 are at once";

Answer document(std::string text, int64_t asOfNs) {
  Answer answer;
  answer.body = std::move(text);
  // Nobody leads: this is what was known then.
  if (asOfNs > 0) answer.headers.emplace_back("Orch-As-Of-Ns", std::to_string(asOfNs));
  return answer;
}

template <typename Results>
int64_t asOfNsOf(const Results& results) {
  if constexpr (requires { results.getAsOfNs(); }) {
    return results.getAsOfNs();
  } else {
    return 0;
  }
}

// What `get` finds in what was asked for.
template <typename T, typename Results, typename Get>
Task<void> answerList(Env& env, Exchange& exchange, kj::Promise<capnp::Response<Results>> asked,
                      Get get) {
  auto response = co_await asked;
  auto writing = listText<T>(env, (response.*get)());
  auto text = co_await kj::mv(writing);
  exchange.answer(document(std::move(text), asOfNsOf(response)));
}
template <typename T, typename Results, typename Get>
Task<void> answerOne(Env& env, Exchange& exchange, kj::Promise<capnp::Response<Results>> asked,
                     Get get) {
  auto response = co_await asked;
  auto writing = oneText<T>(env, (response.*get)());
  auto text = co_await kj::mv(writing);
  exchange.answer(document(std::move(text), asOfNsOf(response)));
}

kj::Promise<void> refuse(Exchange& exchange, unsigned status, const std::string& why) {
  exchange.answer(refusal(status, why));
  return kj::READY_NOW;
}

}  // namespace

// `/v1/tasks/web.1/why`: kind, id and what of it.
struct ApiSite::Words {
  explicit Words(const std::string& path) {
    size_t at = 1;
    while (at <= path.size()) {
      auto end = path.find('/', at);
      if (end == std::string::npos) end = path.size();
      all.push_back(path.substr(at, end - at));
      at = end + 1;
    }
    if (!all.empty() && all.back().empty()) all.pop_back();  // `/v1/tasks/`
  }
  const std::string& at(size_t i) const {
    static const std::string NONE;
    return i < all.size() ? all[i] : NONE;
  }
  std::vector<std::string> all;
};

ApiSite::ApiSite(Env& env, Readings& readings, Changes& changes, Config::Reader settings)
    : env(env), readings(readings), changes(changes), settings(settings), digests(env, readings) {}

bool ApiSite::isAddressed(const Request& request) const {
  in6_addr parsed;
  const char* host = request.host.c_str();
  if (request.host.empty() || request.host == "localhost") return true;
  if (inet_pton(AF_INET, host, &parsed) == 1 || inet_pton(AF_INET6, host, &parsed) == 1)
    return true;
  for (auto name : settings.getHosts()) {
    if (strcasecmp(name.cStr(), host) == 0) return true;
  }
  return false;
}

kj::Maybe<Answer> ApiSite::refusalOf(const Request& request) const {
  if (!isAddressed(request)) {
    return refusal(421,
                   "the name '" + request.host + "' is not among 'hosts' of api.http's settings");
  }
  if (isPage(request.path) && !request.changes) return nullptr;  // is the same for everybody
  KJ_IF_MAYBE (known, tokens) {
    auto role = known->roleOf(request.authorization);
    if (role == Role::NONE) {
      auto answer = refusal(401, "a token is needed: Authorization: Bearer TOKEN");
      answer.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"orch\"");
      return kj::mv(answer);
    }
    if (role == Role::METRICS && request.path != "/metrics" && request.path != "/metrics/usage") {
      return refusal(403, "this token is for metrics only");
    }
    if (request.changes && role != Role::CHANGE) {
      return refusal(403,
                     "this token is for reading only; to change something one of the role "
                     "'change' is needed");
    }
  } else if (request.changes) {
    return refusal(403, "without a tokenFile in api.http's settings nothing can be changed");
  }
  return nullptr;
}

Task<void> ApiSite::serve(Exchange& exchange) {
  KJ_IF_MAYBE (refused, refusalOf(exchange.request)) {
    exchange.answer(kj::mv(*refused));
    co_return;
  }
  Words words(exchange.request.path);
  auto answering = route(exchange, words);
  co_await answering;
}

kj::Promise<void> ApiSite::route(Exchange& exchange, const Words& words) {
  size_t count = words.all.size();
  if (exchange.request.changes) return routeChange(exchange, words);
  KJ_IF_MAYBE (page, pageAt(exchange.request.path)) {
    exchange.answer(kj::mv(*page));
    return kj::READY_NOW;
  }
  if (count == 1 && words.at(0) == "metrics") return metrics(exchange);
  if (count == 2 && words.at(0) == "metrics" && words.at(1) == "usage") return usage(exchange);
  if (words.at(0) == "v1" && count == 2) return routeCluster(exchange, words);
  if (words.at(0) == "v1" && (count == 3 || count == 4)) return routeOne(exchange, words);
  return refuse(exchange, 404, "no '" + exchange.request.path + "'; " + PATHS);
}

kj::Promise<void> ApiSite::routeChange(Exchange& exchange, const Words& words) {
  bool known = words.all.size() == 4 && words.at(0) == "v1" && !words.at(2).empty() &&
               Changes::isOne(words.at(1), words.at(3));
  if (known) return changes.make(exchange, words.at(2), words.at(3));
  return refuse(exchange, 404,
                "no change '" + exchange.request.path +
                    "'; there are /v1/services/ID/scale?replicas=N, /v1/services/ID/rollback and "
                    "/v1/nodes/ID/availability?to=drain");
}

kj::Promise<void> ApiSite::routeCluster(Exchange& exchange, const Words& words) {
  auto& kind = words.at(1);
  auto& request = exchange.request;
  if (kind == "info") {
    return answerOne<schema::ClusterInfo>(env, exchange, readings.info(),
                                          &schema::ClusterControl::InfoResults::Reader::getInfo);
  }
  if (kind == "status") {
    return answerOne<schema::ClusterStatus>(
        env, exchange, readings.status(),
        &schema::ClusterControl::StatusResults::Reader::getStatus);
  }
  if (kind == "plugins") return plugins(exchange);
  if (kind == "nodes") {
    return answerList<schema::Node>(env, exchange, readings.nodes(),
                                    &schema::ClusterControl::NodesResults::Reader::getNodes);
  }
  if (kind == "services") {
    return answerList<schema::ServiceRow>(
        env, exchange, readings.services(),
        &schema::ClusterControl::ServicesResults::Reader::getServices);
  }
  if (kind == "networks") {
    return answerList<schema::Network>(
        env, exchange, readings.networks(),
        &schema::ClusterControl::NetworksResults::Reader::getNetworks);
  }
  if (kind == "volumes") {
    return answerList<schema::NodeVolume>(
        env, exchange, readings.volumes(),
        &schema::ClusterControl::VolumesResults::Reader::getVolumes);
  }
  if (kind == "events") {
    if (streams >= MAX_STREAMS) return refuse(exchange, 503, TOO_MANY_STREAMS);
    auto asked = EventsAsked::of(request, env.nowNs());
    return streamed(sendEvents(env, readings, exchange, std::move(asked)));
  }
  if (kind == "tasks" && request.parameter("rows") == "1") {
    return rows(exchange, request.parameter("ended") == "1");
  }
  if (kind == "tasks") {
    auto service = request.parameter("service"), node = request.parameter("node"),
         desired = request.parameter("desired");
    return answerList<schema::Task>(env, exchange,
                                    readings.tasks(service.c_str(), node.c_str(), desired.c_str()),
                                    &schema::ClusterControl::TasksResults::Reader::getTasks);
  }
  return refuse(exchange, 404, "no '" + request.path + "'; " + PATHS);
}

kj::Promise<void> ApiSite::routeOne(Exchange& exchange, const Words& words) {
  auto& kind = words.at(1);
  auto& of = words.at(3);
  kj::StringPtr id = words.at(2).c_str();
  if (id.size() == 0) return refuse(exchange, 400, "a name or an id is missing in the path");
  if (kind == "nodes" && of.empty()) {
    return answerOne<schema::Node>(env, exchange, readings.node(id),
                                   &schema::ClusterControl::NodeResults::Reader::getNode);
  }
  if (kind == "services" && of.empty()) {
    return answerOne<schema::Service>(env, exchange, readings.service(id),
                                      &schema::ClusterControl::ServiceResults::Reader::getService);
  }
  if (kind == "services" && of == "progress") {
    return answerOne<schema::ServiceProgress>(
        env, exchange, readings.progress(id),
        &schema::ClusterControl::ProgressResults::Reader::getProgress);
  }
  if (kind == "networks" && of.empty()) {
    return answerOne<schema::Network>(env, exchange, readings.network(id),
                                      &schema::ClusterControl::NetworkResults::Reader::getNetwork);
  }
  if (kind == "tasks" && of.empty()) {
    return answerOne<schema::Task>(env, exchange, readings.task(id),
                                   &schema::ClusterControl::TaskResults::Reader::getTask);
  }
  if ((kind == "tasks" || kind == "services") && of == "why") {
    return answerOne<schema::Placing>(env, exchange, readings.why(id),
                                      &schema::ClusterControl::WhyResults::Reader::getAnswer);
  }
  if ((kind == "tasks" || kind == "services") && of == "logs") {
    if (streams >= MAX_STREAMS) return refuse(exchange, 503, TOO_MANY_STREAMS);
    auto asked = LogsAsked::of(exchange.request, env.nowNs());
    return streamed(sendLogs(env, readings, exchange, words.at(2), asked));
  }
  if (Changes::isOne(kind, of)) {
    auto answer = refusal(405, "this is a change: POST it");
    answer.headers.emplace_back("Allow", "POST");
    exchange.answer(std::move(answer));
    return kj::READY_NOW;
  }
  return refuse(exchange, 404,
                "no '" + exchange.request.path +
                    "'; of one thing there are /v1/nodes/ID, /v1/networks/ID, /v1/services/ID with "
                    "/progress, /why and /logs, and /v1/tasks/ID with /why and /logs");
}

Task<void> ApiSite::streamed(Task<void> stream) {
  ++streams;
  KJ_DEFER(--streams);
  co_await kj::mv(stream);
}

Task<void> ApiSite::plugins(Exchange& exchange) {
  auto asking = readings.plugins();
  auto response = co_await asking;
  capnp::MallocMessageBuilder message;
  schema::Kernel::PluginsResults::Reader found = response;
  message.setRoot(found);
  auto list = message.getRoot<schema::Kernel::PluginsResults>().getPlugins();
  // Where a node looks for others may be a secret: `token://…`.
  for (auto plugin : list) plugin.disownSettings();
  auto writing = listText<schema::PluginStatus>(env, list.asReader());
  auto text = co_await kj::mv(writing);
  exchange.answer(document(std::move(text), 0));
}

Task<void> ApiSite::rows(Exchange& exchange, bool all) {
  auto asking = digests.get();
  auto digest = co_await asking;
  exchange.answer(document(all ? digest->allRows : digest->rows, digest->asOfNs));
}

Task<void> ApiSite::usage(Exchange& exchange) {
  auto asking = readings.usage();
  auto response = co_await asking;
  Exposition to;
  describeUsage(to, response);
  Answer answer;
  answer.type = Exposition::MEDIA_TYPE;
  answer.body = to.text();
  exchange.answer(std::move(answer));
}

Task<void> ApiSite::metrics(Exchange& exchange) {
  auto plugins = attempt(readings.plugins());
  auto kernel = attempt(readings.kernelAnswerNs());
  auto status = attempt(readings.status());
  auto nodes = attempt(readings.nodes());
  auto services = attempt(readings.services());
  auto tasks = attempt(digests.get());
  Exposition to;
  to.family("orch_build_info", Exposition::Type::GAUGE, "The orchd that answers; always 1.");
  to.sample({{"version", readings.node().version.cStr()}, {"node", readings.node().name.cStr()}},
            uint64_t{1});
  auto kernelNs = co_await kj::mv(kernel);
  if (kernelNs.ok()) {
    to.gauge("orch_kernel_answer_seconds",
             "How long orchd took to answer the smallest question just now: what its loop lags.",
             static_cast<double>(kernelNs.value()) / 1e9);
  }
  auto allPlugins = co_await kj::mv(plugins);
  if (allPlugins.ok()) describePlugins(to, allPlugins.value().getPlugins());
  auto allServices = co_await kj::mv(services);
  to.gauge("orch_cluster_up",
           "Whether the cluster could be asked here; it cannot on a worker. If not, what follows "
           "is left out.",
           allServices.ok() ? 1 : 0);
  if (allServices.ok()) describeServices(to, allServices.value().getServices());
  auto allNodes = co_await kj::mv(nodes);
  if (allNodes.ok()) describeNodes(to, allNodes.value().getNodes());
  auto allTasks = co_await kj::mv(tasks);
  if (allTasks.ok()) to.append(allTasks.value()->metrics);
  auto clusterStatus = co_await kj::mv(status);
  if (clusterStatus.ok()) describeStatus(to, clusterStatus.value().getStatus());
  if (eventCounts != nullptr) describeEvents(to, eventCounts->counts());
  if (server != nullptr) describeServer(to, server->figures(), server->answers(), streams);
  Answer answer;
  answer.type = Exposition::MEDIA_TYPE;
  answer.body = to.text();
  exchange.answer(std::move(answer));
}

}  // namespace orch::api::http
