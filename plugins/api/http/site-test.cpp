// What is answered to which path, with a cluster and a kernel that the test makes up.
#include <catch2/catch.hpp>

#include <algorithm>

#include "api-site.h"
#include "orch/fail.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"
#include "streams.h"
#include "test-client.h"

namespace orch::api::http {
namespace {

class MadeUpCluster final : public schema::ClusterControl::Server {
 public:
  kj::Promise<void> info(InfoContext context) override {
    context.getResults().initInfo().setRevision(revision);
    return kj::READY_NOW;
  }
  kj::Promise<void> services(ServicesContext context) override {
    if (silent) return kj::NEVER_DONE;
    auto rows = context.getResults().initServices(2);
    rows[0].setId("s1");
    rows[0].setName("web");
    rows[1].setName("\"quoted\"");
    context.getResults().setAsOfNs(asOfNs);
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    auto id = context.getParams().getId();
    if (id != "web") fail(kj::str("no service '", id, "'"));
    context.getResults().initService().initSpec().setName("web");
    return kj::READY_NOW;
  }
  kj::Promise<void> tasks(TasksContext context) override {
    auto filter = context.getParams().getFilter();
    asked = std::string(filter.getServiceId().cStr()) + "|" + filter.getNodeId().cStr() + "|" +
            filter.getDesired().cStr();
    ++tasksAsked;
    auto list = context.getResults().initTasks(tasksMade);
    for (unsigned i = 0; i < list.size(); ++i) {
      list[i].initMeta().setId(kj::str("t", i));
      list[i].setServiceName("web");
      list[i].setSlot(i + 1);
      list[i].setDesired(i == 1 ? schema::TaskState::SHUTDOWN : schema::TaskState::RUNNING);
      list[i].initStatus().setState(i == 1 ? schema::TaskState::SHUTDOWN
                                           : schema::TaskState::RUNNING);
      list[i].getStatus().setAtNs(1'780'000'000'123'456'789);
      list[i].getStatus().setMessage("started");
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> logs(LogsContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    if (params.getId() != "web.1") fail(kj::str("no service and no task '", params.getId(), "'"));
    tail = params.getOptions().getTail();
    auto call = params.getSink().linesRequest();
    auto lines = call.initLines(2);
    for (unsigned i = 0; i < 2; ++i) {
      lines[i].setTimeNs(1'780'000'000'000'000'001);
      lines[i].setTaskName("web.1.t0");
      lines[i].setText(kj::str("line ", i).asBytes());
    }
    kj::Promise<void> sent = call.send().ignoreResult();
    if (!params.getOptions().getFollow()) return sent;
    ++following;
    return sent.then([] { return kj::Promise<void>(kj::NEVER_DONE); }).attach(kj::defer([this] {
      --following;
    }));
  }

  kj::Promise<void> scaleService(ScaleServiceContext context) override {
    auto params = context.getParams();
    changed = kj::str("scale ", params.getId(), " ", params.getReplicas()).cStr();
    requestId = params.getRequestId().cStr();
    context.getResults().initService().initSpec().setName(params.getId());
    return kj::READY_NOW;
  }
  kj::Promise<void> rollbackService(RollbackServiceContext context) override {
    changed = kj::str("rollback ", context.getParams().getId()).cStr();
    return kj::READY_NOW;
  }
  kj::Promise<void> updateNode(UpdateNodeContext context) override {
    auto params = context.getParams();
    auto to = static_cast<int>(params.getChange().getAvailability().getSet());
    changed = kj::str("node ", params.getId(), " ", to).cStr();
    return kj::READY_NOW;
  }

  bool silent = false;
  std::string changed, requestId;
  int64_t asOfNs = 0;
  uint64_t revision = 0;
  unsigned tasksMade = 2;
  unsigned tasksAsked = 0;
  std::string asked;
  int64_t tail = 0;
  int following = 0;
};

class MadeUpKernel final : public schema::Kernel::Server {
 public:
  kj::Promise<void> plugins(PluginsContext context) override {
    auto plugin = context.getResults().initPlugins(1)[0];
    plugin.setId("api.http");
    plugin.setSettings("uri = 'token://secret'");
    return kj::READY_NOW;
  }
  kj::Promise<void> events(EventsContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    sinceNs = params.getSinceNs();
    topics.clear();
    for (auto topic : params.getTopics()) topics += std::string(topic.cStr()) + " ";
    auto call = params.getSink().eventsRequest();
    auto events = call.initEvents(2);
    for (unsigned i = 0; i < 2; ++i) {
      events[i].setSequence(7 + i);
      events[i].setTimeNs(100 + i);
      events[i].setTopic("task.started");
    }
    call.setLagged(3);
    ++following;
    return call.send()
        .ignoreResult()
        .then([] { return kj::Promise<void>(kj::NEVER_DONE); })
        .attach(kj::defer([this] { --following; }));
  }

  int64_t sinceNs = 0;
  std::string topics;
  int following = 0;
};

struct Sited {
  explicit Sited(kj::Function<void(Config::Builder)> change = [](Config::Builder) {}) {
    change(message.initRoot<Config>());
    auto madeUpCluster = kj::heap<MadeUpCluster>();
    auto madeUpKernel = kj::heap<MadeUpKernel>();
    cluster = madeUpCluster.get();
    kernel = madeUpKernel.get();
    testHost.addService("cluster", schema::ClusterControl::Client(kj::mv(madeUpCluster)));
    testHost.addService("kernel", schema::Kernel::Client(kj::mv(madeUpKernel)));
    host = kj::heap<Host>(testHost.client(), NodeFacts());
    readings = kj::heap<Readings>(time, *host, 5 * kj::SECONDS);
    changes = kj::heap<Changes>(time, *host, 5 * kj::SECONDS);
    site = kj::heap<ApiSite>(time, *readings, *changes, message.getRoot<Config>().asReader());
    NetSettings settings;
    settings.listen = "127.0.0.1:0";
    server = kj::heap<Server>(*env, *site, std::move(settings));
    site->setServer(*server);
  }
  TestClient client() { return TestClient(*env, io.waitScope, server->port()); }
  std::string ask(const std::string& path, std::string* head = nullptr,
                  const std::string& headers = "") {
    auto request = "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers + "\r\n";
    return client().send(request).answer(head);
  }
  // Of requests that shall be refused: status and error.
  std::string refusal(const std::string& path, const std::string& headers = "") {
    std::string head;
    auto body = ask(path, &head, headers);
    return head.substr(9, 3) + " " + body;
  }

  testing::TestFolder folder{"api-http-site"};
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  testing::HeldTime time{*env, io.waitScope};
  testing::TestHost testHost{folder.sub("data"), folder.sub("run")};
  capnp::MallocMessageBuilder message;
  MadeUpCluster* cluster;
  MadeUpKernel* kernel;
  kj::Own<Host> host;
  kj::Own<Readings> readings;
  kj::Own<Changes> changes;
  kj::Own<ApiSite> site;
  kj::Own<Server> server;
};

TEST_CASE("site: lists are one object in a line, and single ones are pretty", "[api]") {
  Sited sited;
  std::string head;
  auto services = sited.ask("/v1/services", &head);
  CHECK(head.find("Content-Type: application/json\r\n") != std::string::npos);
  CHECK(head.find("Orch-As-Of-Ns") == std::string::npos);
  CHECK(services.starts_with("[{\"id\":\"s1\",\"name\":\"web\","));
  CHECK(services.find("},\n{\"name\":\"\\\"quoted\\\"\",") != std::string::npos);
  CHECK(services.ends_with("}]\n"));
  auto service = sited.ask("/v1/services/web");
  INFO(service);
  CHECK(service.starts_with("{\"spec\": {"));
  CHECK(service.find("\"name\": \"web\"") != std::string::npos);
  CHECK(sited.ask("/v1/services/") == services);
  auto plugins = sited.ask("/v1/plugins");
  CHECK(plugins.find("\"id\":\"api.http\"") != std::string::npos);
  CHECK(plugins.find("secret") == std::string::npos);
}

TEST_CASE("site: an answer of before says of when it is", "[api]") {
  Sited sited;
  sited.cluster->asOfNs = 1'780'000'000'000'000'000;
  std::string head;
  sited.ask("/v1/services", &head);
  CHECK(head.find("\r\nOrch-As-Of-Ns: 1780000000000000000\r\n") != std::string::npos);
}

TEST_CASE("site: tasks are chosen by their query, and are rows without ended ones", "[api]") {
  Sited sited;
  sited.ask("/v1/tasks?service=web&node=n%201&desired=running");
  CHECK(sited.cluster->asked == "web|n 1|running");
  CHECK(sited.ask("/v1/tasks?rows=1") ==
        "[{\"id\":\"t0\",\"service\":\"web\",\"slot\":1,\"node\":\"\",\"state\":\"running\","
        "\"desired\":\"running\",\"atNs\":\"1780000000123456789\",\"restarts\":0,"
        "\"message\":\"started\"}]\n");
  CHECK(sited.cluster->asked == "||");
  auto all = sited.ask("/v1/tasks?rows=1&ended=1");
  CHECK(all.find("},\n{\"id\":\"t1\",") != std::string::npos);
}

TEST_CASE("site: all tasks are asked for again when something has changed", "[api]") {
  Sited sited;
  sited.cluster->revision = 7;
  auto rows = sited.ask("/v1/tasks?rows=1");
  CHECK(sited.ask("/v1/tasks?rows=1") == rows);
  CHECK(sited.ask("/metrics").find("\norch_tasks{") != std::string::npos);
  CHECK(sited.cluster->tasksAsked == 1);
  sited.cluster->revision = 8;
  sited.cluster->tasksMade = 3;
  CHECK(sited.ask("/v1/tasks?rows=1") != rows);
  CHECK(sited.cluster->tasksAsked == 2);
  sited.cluster->revision = 0;  // as on a worker
  sited.ask("/v1/tasks?rows=1");
  sited.ask("/v1/tasks?rows=1");
  CHECK(sited.cluster->tasksAsked == 4);
}

TEST_CASE("site: ten thousand tasks come whole", "[api]") {
  Sited sited;
  sited.cluster->tasksMade = 10'000;
  auto rows = sited.ask("/v1/tasks?rows=1");
  CHECK(std::count(rows.begin(), rows.end(), '\n') == 9'999);
  CHECK(rows.find("{\"id\":\"t9999\",") != std::string::npos);
}

TEST_CASE("site: metrics leave out what cannot be had", "[api]") {
  Sited sited;
  auto text = sited.ask("/metrics");
  CHECK(text.find("\norch_cluster_up 1\n") != std::string::npos);
  CHECK(text.find("\norch_tasks{state=\"running\"} 1\n") != std::string::npos);
  CHECK(text.find("orch_nodes{") == std::string::npos);  // this cluster has no such method
  sited.cluster->silent = true;
  auto client = sited.client();
  client.send(get("/metrics"));
  testing::until(*sited.env, sited.io.waitScope, "it is asked",
                 [&] { return sited.server->open() == 1; });
  sited.time.advance(5 * kj::SECONDS);
  CHECK(client.answer().find("\norch_cluster_up 0\n") != std::string::npos);
}

TEST_CASE("site: events on the bus are counted by topic", "[api]") {
  Sited sited;
  EventCounts counts;
  counts.start(*sited.host).promise().wait(sited.io.waitScope);
  sited.site->setEvents(counts);
  for (auto topic : {"task.started", "task.started", "node.down"}) {
    sited.testHost.emit(topic).wait(sited.io.waitScope);
  }
  auto text = sited.ask("/metrics");
  CHECK(text.find("\norch_events_total{topic=\"task.started\"} 2\n") != std::string::npos);
  CHECK(text.find("\norch_events_total{topic=\"node.down\"} 1\n") != std::string::npos);
  CHECK(text.find("\norch_events_missed_total 0\n") != std::string::npos);
}

TEST_CASE("site: a cluster that does not answer is not waited for", "[api]") {
  Sited sited;
  sited.cluster->silent = true;
  auto client = sited.client();
  client.send(get("/v1/services"));
  testing::until(*sited.env, sited.io.waitScope, "it is asked",
                 [&] { return sited.server->open() == 1; });
  sited.time.advance(5 * kj::SECONDS);
  std::string head;
  CHECK(client.answer(&head).starts_with("{\"error\":\"no answer within 5000 ms; "));
  CHECK(head.starts_with("HTTP/1.1 503 "));
}

TEST_CASE("site: what is not there is told so", "[api]") {
  Sited sited;
  CHECK(sited.refusal("/v1/services/wbe") == "404 {\"error\":\"no service 'wbe'\"}\n");
  CHECK(sited.refusal("/v1/tasks/x/logs") == "404 {\"error\":\"no service and no task 'x'\"}\n");
  for (auto path : {"/v1", "/v2/nodes", "/v1/cats", "/v1/nodes/a/b", "/v1/nodes/a/b/c",
                    "/metrics/a", "/page/none.js", "/page/"}) {
    INFO(path);
    CHECK(sited.refusal(path).starts_with(std::string("404 {\"error\":\"no '") + path + "'; "));
  }
  CHECK(sited.refusal("/v1/nodes//why").starts_with("400 "));
}

TEST_CASE("site: a name that it was not told is none of its own", "[api]") {
  Sited sited([](Config::Builder config) { config.initHosts(1).set(0, "Orch.example.com"); });
  auto status = [&](const std::string& host) {
    auto request = "GET /v1/plugins HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
    std::string head;
    sited.client().send(request).answer(&head);
    return head.substr(9, 3);
  };
  for (auto host : {"127.0.0.1:1", "[::1]:1", "localhost:80", "orch.EXAMPLE.com", "10.1.2.3"}) {
    INFO(host);
    CHECK(status(host) == "200");
  }
  for (auto host : {"example.com", "orch.example.com.evil.org", "127.0.0.1.evil.org"}) {
    INFO(host);
    CHECK(status(host) == "421");
  }
}

TEST_CASE("site: with tokens each reads what it may, and the page is for all", "[api]") {
  Sited sited;
  sited.site->setTokens(
      Tokens::parse("read 0123456789abcdef\nmetrics fedcba9876543210\n", "tokens"));
  auto status = [&](const std::string& path, const std::string& token) {
    auto header = token.empty() ? "" : "Authorization: Bearer " + token + "\r\n";
    return sited.refusal(path, header).substr(0, 3);
  };
  CHECK(status("/v1/plugins", "") == "401");
  CHECK(status("/metrics", "") == "401");
  CHECK(status("/v1/plugins", "0000000000000000") == "401");
  CHECK(status("/v1/plugins", "0123456789abcdef") == "200");
  CHECK(status("/metrics", "0123456789abcdef") == "200");
  CHECK(status("/metrics", "fedcba9876543210") == "200");
  CHECK(status("/v1/plugins", "fedcba9876543210") == "403");
  CHECK(status("/", "") == "200");
  CHECK(status("/page/app.js", "") == "200");
}

TEST_CASE("site: who has a token for it changes a few things", "[api]") {
  Sited sited;
  sited.site->setTokens(
      Tokens::parse("change 0123456789abcdef\nread fedcba9876543210\n", "tokens"));
  auto post = [&](const std::string& path, const std::string& token,
                  const std::string& headers = "") {
    auto request = "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " +
                   token + "\r\n" + headers + "\r\n";
    std::string head;
    auto body = sited.client().send(request).answer(&head);
    return head.substr(9, 4) + body;
  };
  const std::string token = "0123456789abcdef";
  auto scaled = post("/v1/services/web/scale?replicas=3", token, "Idempotency-Key: abc\r\n");
  CHECK(scaled.starts_with("200 {"));
  CHECK(scaled.find("\"name\": \"web\"") != std::string::npos);
  CHECK(sited.cluster->changed == "scale web 3");
  CHECK(sited.cluster->requestId == "abc");
  post("/v1/services/web/scale?replicas=4", token);
  CHECK(sited.cluster->requestId.size() == 25);
  CHECK(post("/v1/services/web/rollback", token).starts_with("200 "));
  CHECK(sited.cluster->changed == "rollback web");
  CHECK(post("/v1/nodes/n1/availability?to=drain", token).starts_with("200 "));
  CHECK(sited.cluster->changed == "node n1 2");
  sited.cluster->changed = "nothing";
  CHECK(post("/v1/services/web/scale", token).starts_with("400 {\"error\":\"replicas is ''; "));
  CHECK(post("/v1/services/web/scale?replicas=-1", token).starts_with("400 "));
  CHECK(post("/v1/nodes/n1/availability?to=off", token).starts_with("400 "));
  CHECK(
      post("/v1/services/web/rollback", token, "Idempotency-Key: " + std::string(65, 'a') + "\r\n")
          .starts_with("400 "));
  for (auto path : {"/", "/metrics", "/v1/services", "/v1/services/web", "/v1/nodes/n1/scale"}) {
    INFO(path);
    CHECK(post(path, token).starts_with(std::string("404 {\"error\":\"no change '") + path));
  }
  CHECK(post("/v1/services/web/rollback", "fedcba9876543210").starts_with("403 "));
  CHECK(post("/v1/services/web/rollback", "nobody").starts_with("401 "));
  CHECK(
      sited.refusal("/v1/services/web/scale?replicas=1", "Authorization: Bearer " + token + "\r\n")
          .starts_with("405 "));
  CHECK(sited.cluster->changed == "nothing");
}

TEST_CASE("site: without tokens nothing can be changed", "[api]") {
  Sited sited;
  auto answer = sited.client()
                    .send("POST /v1/services/web/rollback HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    .answer();
  CHECK(answer.starts_with("{\"error\":\"without a tokenFile "));
  CHECK(sited.cluster->changed == "");
}

TEST_CASE("site: events are a stream that goes on behind what a client has seen", "[api]") {
  Sited sited;
  auto client = sited.client();
  auto head = client.send(get("/v1/events?topics=task.*,node.down&since=5"))
                  .read("\"topic\":\"task.started\"");
  CHECK(head.find("Content-Type: text/event-stream\r\n") != std::string::npos);
  CHECK(head.find("event: lagged\ndata: 3\n\nid: 100-7\ndata: {\"sequence\":7,") !=
        std::string::npos);
  CHECK(client.read("id: 101-8\n").size() > 0);
  CHECK(sited.kernel->topics == "task.* node.down ");
  CHECK(sited.kernel->sinceNs == 5'000'000'000);
  auto again = sited.client();
  again.send("GET /v1/events HTTP/1.1\r\nLast-Event-ID: 100-7\r\n\r\n");
  auto rest = again.read("id: 101-8\n");
  CHECK(rest.find("id: 100-7") == std::string::npos);
  CHECK(sited.kernel->sinceNs == 100);
  CHECK(sited.kernel->topics == "* ");
  CHECK(sited.kernel->following == 2);
  sited.time.advance(15 * kj::SECONDS);
  CHECK(again.read(": \n\n").size() > 0);  // a sign of life
  CHECK(sited.refusal("/v1/events?since=yesterday")
            .starts_with("400 {\"error\":\"since is 'yesterday'; accepted: "));
}

TEST_CASE("site: who follows events and has gone is not told any more", "[api]") {
  Sited sited;
  sited.client().send(get("/v1/events")).read("id: 101-8\n");
  testing::until(*sited.env, sited.io.waitScope, "it is over",
                 [&] { return sited.kernel->following == 0 && sited.server->open() == 0; });
}

TEST_CASE("site: a log is lines of JSON, or a stream of events", "[api]") {
  Sited sited;
  auto lines = sited.client().send(get("/v1/tasks/web.1/logs?tail=5")).read("0\r\n\r\n");
  CHECK(lines.find("Content-Type: application/jsonl\r\n") != std::string::npos);
  CHECK(lines.find("{\"time\": \"2026-05-28T20:26:40.000000001Z\", \"stream\": \"stdout\", "
                   "\"taskId\": \"\", \"taskName\": \"web.1.t0\", \"nodeId\": \"\", "
                   "\"text\": \"line 0\"}\n") != std::string::npos);
  CHECK(sited.cluster->tail == 5);
  {
    auto client = sited.client();
    client.send("GET /v1/tasks/web.1/logs?follow=1 HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n");
    CHECK(client.read("line 1").find("\ndata: {\"time\": ") != std::string::npos);
    CHECK(sited.cluster->following == 1);
  }
  testing::until(*sited.env, sited.io.waitScope, "it is over",
                 [&] { return sited.cluster->following == 0; });
  CHECK(sited.refusal("/v1/tasks/web.1/logs?tail=-1").starts_with("400 "));
  CHECK(sited.refusal("/v1/tasks/web.1/logs?follow=yes").starts_with("400 "));
}

TEST_CASE("site: so many streams are open at once and no more", "[api]") {
  Sited sited;
  std::vector<kj::Own<TestClient>> clients;
  for (size_t i = 0; i < ApiSite::MAX_STREAMS; ++i) {
    clients.push_back(kj::heap<TestClient>(sited.client()));
    clients.back()->send(get("/v1/events")).read("id: 101-8\n");
  }
  CHECK(sited.refusal("/v1/events").starts_with("503 {\"error\":\"too many streams are open"));
  clients.pop_back();
  testing::until(*sited.env, sited.io.waitScope, "one is over",
                 [&] { return sited.kernel->following == ApiSite::MAX_STREAMS - 1; });
  sited.client().send(get("/v1/events")).read("id: 101-8\n");
}

}  // namespace
}  // namespace orch::api::http
