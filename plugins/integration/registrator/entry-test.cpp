// What is registered of a container, by what gliderlabs/registrator's documents say of it.
#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <functional>

#include "check.h"
#include "lib/node-address.h"
#include "metadata.h"
#include "orch/attempt.h"
#include "place.h"
#include "service-entry.h"

namespace orch::integration::registrator {
namespace {

using Lines = std::vector<std::string>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

struct TestPort {
  uint16_t target;
  uint16_t published = 0;
  bool udp = false;
  bool host = false;  // of the node, and so chosen by it
};

// A task of the service `redis`, in slot 0 of node `n`, as `redis.n.t`.
struct TestContainer {
  std::string image = "progrium/redis";
  std::vector<TestPort> ports = {{6379, 10000}};
  Lines env;
  Pairs labels;
  Lines imageEnv;
  Pairs imageLabels;
  Lines exposed;
  std::string network = "bridge";
  std::string leg;
  std::function<void(schema::TaskEntry::Builder)> more = [](schema::TaskEntry::Builder) {};
};

void fillLines(capnp::List<capnp::Text>::Builder to, const Lines& lines) {
  for (uint32_t i = 0; i < to.size(); ++i) to.set(i, lines[i].c_str());
}

void fillPairs(capnp::List<schema::KeyValue>::Builder to, const Pairs& pairs) {
  for (uint32_t i = 0; i < to.size(); ++i) {
    to[i].setKey(pairs[i].first.c_str());
    to[i].setValue(pairs[i].second.c_str());
  }
}

void fillTask(const TestContainer& container, schema::TaskEntry::Builder entry) {
  entry.setServing(true);
  auto task = entry.initTask();
  task.initMeta().setId("t");
  task.setServiceName("redis");
  task.setNodeId("n");
  task.setSlot(2);
  auto spec = task.initSpec();
  spec.initNetworks(1)[0].setName(container.network.c_str());
  auto of = spec.initContainer();
  of.setImage(container.image.c_str());
  fillLines(of.initEnv(container.env.size()), container.env);
  fillPairs(of.initLabels(container.labels.size()), container.labels);
  auto ports = task.initPorts(container.ports.size());
  auto status = task.initStatus();
  auto chosen = status.initHostPorts(container.ports.size());
  for (uint32_t i = 0; i < ports.size(); ++i) {
    auto& from = container.ports[i];
    ports[i].setTarget(from.target);
    if (!from.host) ports[i].setPublished(from.published);
    if (from.udp) ports[i].setProtocol(schema::PortSpec::Protocol::UDP);
    if (from.host) ports[i].setMode(schema::PortSpec::PublishMode::HOST);
    chosen.setWithCaveats(i, ports[i].asReader());
    if (from.host) chosen[i].setPublished(from.published);
  }
  status.initAddresses(1).set(0, "172.30.0.5");
  if (!container.leg.empty()) task.initLegs(1)[0].setAddress(container.leg.c_str());
  container.more(entry);
}

EntryRules published() { return {.hostname = "hostname", .address = "192.168.1.102"}; }

std::vector<ServiceEntry> entries(const TestContainer& container, const EntryRules& rules) {
  capnp::MallocMessageBuilder message, image;
  auto entry = message.initRoot<schema::TaskEntry>();
  fillTask(container, entry);
  auto config = image.initRoot<schema::ImageConfig>();
  fillLines(config.initEnv(container.imageEnv.size()), container.imageEnv);
  fillPairs(config.initLabels(container.imageLabels.size()), container.imageLabels);
  fillLines(config.initExposedPorts(container.exposed.size()), container.exposed);
  return entriesOf(entry.asReader(), config.asReader(), rules);
}

// `id | name | address:port | tag,tag | key=value key=value`, one line each.
Lines texts(const TestContainer& container, const EntryRules& rules = published()) {
  Lines lines;
  for (auto& entry : entries(container, rules)) {
    std::string line = entry.id + " | " + entry.name + " | " + entry.address + ":" +
                       std::to_string(entry.port) + " |";
    for (auto& tag : entry.tags) line += (&tag == entry.tags.data() ? " " : ";") + tag;
    line += " |";
    for (auto& [key, value] : entry.attributes) line += " " + key + "=" + value;
    lines.push_back(line);
  }
  return lines;
}

const std::string REDIS = "hostname:redis.2.t:6379";

TEST_CASE("registrator: a container's services are those of its documents", "[registrator]") {
  struct Row {
    const char* what;
    TestContainer container;
    Lines expected;
  };
  const std::vector<TestPort> web = {{443, 4443}, {80, 8000}};
  const Row ROWS[] = {
      {"one port, with nothing said", {}, {REDIS + " | redis | 192.168.1.102:10000 | |"}},
      {"one port, with everything said",
       {.env = {"SERVICE_NAME=db", "SERVICE_TAGS=master,backups", "SERVICE_REGION=us2"}},
       {REDIS + " | db | 192.168.1.102:10000 | master;backups | region=us2"}},
      {"a comma in a tag",
       {.env = {"SERVICE_NAME=db", "SERVICE_TAGS=/(;\\,:-_)/", "SERVICE_REGION=us2"}},
       {REDIS + " | db | 192.168.1.102:10000 | /(;,:-_)/ | region=us2"}},
      {"several ports, with nothing said",
       {.image = "progrium/nginx", .ports = web},
       {"hostname:redis.2.t:443 | nginx-443 | 192.168.1.102:4443 | |",
        "hostname:redis.2.t:80 | nginx-80 | 192.168.1.102:8000 | |"}},
      {"several ports, with something said of each",
       {.image = "progrium/nginx",
        .ports = web,
        .env = {"SERVICE_443_NAME=https", "SERVICE_443_ID=https.12345", "SERVICE_443_SNI=enabled",
                "SERVICE_80_NAME=http", "SERVICE_TAGS=www"}},
       {"https.12345 | https | 192.168.1.102:4443 | www | sni=enabled",
        "hostname:redis.2.t:80 | http | 192.168.1.102:8000 | www |"}},
      {"labels",
       {.labels = {{"SERVICE_NAME", "db"},
                   {"SERVICE_TAGS", "master,backups"},
                   {"SERVICE_REGION", "us2"}}},
       {REDIS + " | db | 192.168.1.102:10000 | master;backups | region=us2"}},
      {"several ports with one name",
       {.ports = web, .env = {"SERVICE_NAME=web"}},
       {"hostname:redis.2.t:443 | web-443 | 192.168.1.102:4443 | |",
        "hostname:redis.2.t:80 | web-80 | 192.168.1.102:8000 | |"}},
      {"what is said of a port counts, wherever it stands",
       {.env = {"SERVICE_6379_NAME=own", "SERVICE_NAME=all", "SERVICE_80_NAME=other"}},
       {REDIS + " | own | 192.168.1.102:10000 | |"}},
      {"a label replaces what the environment says",
       {.env = {"SERVICE_NAME=env"}, .labels = {{"SERVICE_NAME", "label"}}},
       {REDIS + " | label | 192.168.1.102:10000 | |"}},
      {"the image's author says it, and the operator otherwise",
       {.env = {"SERVICE_NAME=operator"},
        .imageEnv = {"SERVICE_NAME=author", "SERVICE_REGION=eu"},
        .imageLabels = {{"SERVICE_TAGS", "a,b"}}},
       {REDIS + " | operator | 192.168.1.102:10000 | a;b | region=eu"}},
      {"to be left alone", {.env = {"SERVICE_IGNORE=true"}}, {}},
      {"one port to be left alone",
       {.ports = web, .env = {"SERVICE_443_IGNORE=true"}},
       {"hostname:redis.2.t:80 | redis-80 | 192.168.1.102:8000 | |"}},
      {"datagrams",
       {.ports = {{53, 5353, true}}, .env = {"SERVICE_TAGS=a"}},
       {"hostname:redis.2.t:53:udp | redis | 192.168.1.102:5353 | a;udp |"}},
      {"the same port for both",
       {.ports = {{53, 53}, {53, 5353, true}}},
       {"hostname:redis.2.t:53 | redis-53 | 192.168.1.102:53 | |",
        "hostname:redis.2.t:53:udp | redis-53 | 192.168.1.102:5353 | udp |"}},
      {"nothing is published", {.ports = {}, .exposed = {"80/tcp"}}, {}},
      {"not published, beside one that is",
       {.ports = {{80, 8000}}, .exposed = {"80/tcp", "443/tcp"}},
       {"hostname:redis.2.t:80 | redis | 192.168.1.102:8000 | |"}},
      {"a port that the node has chosen",
       {.ports = {{80, 32768, false, true}}},
       {"hostname:redis.2.t:80 | redis | 192.168.1.102:32768 | |"}},
      {"the host's network",
       {.ports = {{8080, 9999}}, .network = "host"},
       {"hostname:redis.2.t:8080 | redis | 192.168.1.102:8080 | |"}},
      {"an image with registry, version and digest",
       {.image = "registry:5000/team/app:1.2@sha256:0123"},
       {REDIS + " | app | 192.168.1.102:10000 | |"}},
      {"what is empty is not said",
       {.env = {"SERVICE_NAME=", "SERVICE_TAGS=,,", "SERVICE_IGNORE=", "NOTHING", "OTHER=x"}},
       {REDIS + " | redis | 192.168.1.102:10000 | | ignore="}},
  };
  for (auto& row : ROWS) {
    INFO(row.what);
    CHECK(texts(row.container) == row.expected);
  }
}

TEST_CASE("registrator: the options of its command line are settings", "[registrator]") {
  auto internal = published();
  internal.internal = true;
  TestContainer nginx{.image = "nginx", .ports = {{80, 8000}}, .exposed = {"443/tcp", "80/tcp"}};
  CHECK(texts(nginx, internal) == Lines{"hostname:redis.2.t:80 | nginx-80 | 172.30.0.5:80 | |",
                                        "hostname:redis.2.t:443 | nginx-443 | 172.30.0.5:443 | |"});
  nginx.leg = "10.0.1.7/24";
  nginx.exposed = {"nonsense", "0/tcp", "70000", "80"};
  CHECK(texts(nginx, internal) == Lines{"hostname:redis.2.t:80 | nginx | 10.0.1.7:80 | |"});

  auto choosy = published();
  choosy.explicitOnly = true;
  CHECK(texts({}, choosy).empty());
  CHECK(texts({.env = {"SERVICE_NAME=db"}}, choosy).size() == 1);

  auto tagged = published();
  tagged.tags = {"all", "every"};
  CHECK(texts({.env = {"SERVICE_TAGS=own"}}, tagged) ==
        Lines{REDIS + " | redis | 192.168.1.102:10000 | own;all;every |"});

  auto labelled = published();
  labelled.addressLabel = "ip";
  CHECK(texts({.labels = {{"ip", "10.9.9.9/16"}}}, labelled) ==
        Lines{REDIS + " | redis | 10.9.9.9:10000 | |"});
  CHECK(texts({}, labelled) == Lines{REDIS + " | redis | 192.168.1.102:10000 | |"});
}

TEST_CASE("registrator: what does not serve is not there, or stays if it has failed",
          "[registrator]") {
  auto ended = [](schema::TaskState state, int code) {
    TestContainer container;
    container.more = [=](schema::TaskEntry::Builder entry) {
      entry.setServing(false);
      auto status = entry.getTask().getStatus();
      status.setState(state);
      status.setRunningAtNs(7);
      status.initContainer().setExitCode(code);
    };
    return container;
  };
  auto keeping = published();
  keeping.keepFailed = true;
  using schema::TaskState;
  CHECK(texts(ended(TaskState::FAILED, 1)).empty());
  CHECK(texts(ended(TaskState::FAILED, 1), keeping).size() == 1);
  CHECK(texts(ended(TaskState::FAILED, 137), keeping).empty());
  CHECK(texts(ended(TaskState::COMPLETE, 0), keeping).empty());
  CHECK(texts(ended(TaskState::SHUTDOWN, 1), keeping).empty());
}

TEST_CASE("registrator: tags stand between commas that no backslash is before", "[registrator]") {
  const std::pair<const char*, Lines> ROWS[] = {
      {"", {}},
      {"foobar", {"foobar"}},
      {"foo,bar", {"foo", "bar"}},
      {"foo\\,bar", {"foo,bar"}},
      {"foo,bar\\,baz", {"foo", "bar,baz"}},
      {"\\,foobar\\,", {",foobar,"}},
      {",,,,foo,,,bar,,,", {"foo", "bar"}},
      {",,,,", {}},
      {",,\\,,", {","}},
      {"a\\b", {"a\\b"}},
  };
  for (auto& [text, tags] : ROWS) {
    CAPTURE(text);
    CHECK(tagsOf(text) == tags);
  }
}

std::string checkText(Lines env, bool scripts = false) {
  auto all = entries({.env = std::move(env)}, published());
  auto choice = checkOf(all.at(0), scripts);
  if (!choice.refused.empty()) return "refused";
  return choice.checks.empty() ? "" : orch::consul::checksText(choice.checks);
}

TEST_CASE("registrator: consul is asked for the checks of its documents", "[registrator]") {
  CHECK(checkText({}) == "");
  CHECK(checkText({"SERVICE_CHECK_INTERVAL=1s"}) == "");
  CHECK(
      checkText({"SERVICE_6379_CHECK_HTTP=/health/endpoint/path", "SERVICE_6379_CHECK_INTERVAL=15s",
                 "SERVICE_6379_CHECK_TIMEOUT=1s", "SERVICE_6379_CHECK_HTTP_METHOD=HEAD"}) ==
      R"([{"HTTP":"http://192.168.1.102:10000/health/endpoint/path","Method":"HEAD",)"
      R"("Interval":"15s","Timeout":"1s"}])");
  CHECK(checkText({"SERVICE_CHECK_HTTPS=/", "SERVICE_CHECK_HTTPS_METHOD=HEAD"}) ==
        R"([{"HTTP":"https://192.168.1.102:10000/","Method":"HEAD","Interval":"10s"}])");
  CHECK(checkText({"SERVICE_6379_CHECK_TCP=true", "SERVICE_6379_CHECK_INTERVAL=15s",
                   "SERVICE_6379_CHECK_TIMEOUT=3s"}) ==
        R"([{"TCP":"192.168.1.102:10000","Interval":"15s","Timeout":"3s"}])");
  CHECK(checkText({"SERVICE_CHECK_TTL=30s", "SERVICE_CHECK_INTERVAL=1s"}) == R"([{"TTL":"30s"}])");
  CHECK(
      checkText({"SERVICE_CHECK_GRPC=true", "SERVICE_CHECK_INTERVAL=5s", "SERVICE_CHECK_TIMEOUT=3s",
                 "SERVICE_CHECK_GRPC_USE_TLS=true", "SERVICE_CHECK_TLS_SKIP_VERIFY=true"}) ==
      R"([{"GRPC":"192.168.1.102:10000","GRPCUseTLS":true,"TLSSkipVerify":true,)"
      R"("Interval":"5s","Timeout":"3s"}])");
  CHECK(checkText({"SERVICE_CHECK_TCP=true", "SERVICE_CHECK_INITIAL_STATUS=passing",
                   "SERVICE_CHECK_DEREGISTER_AFTER=10m"}) ==
        R"([{"TCP":"192.168.1.102:10000","Interval":"10s","Status":"passing",)"
        R"("DeregisterCriticalServiceAfter":"10m"}])");
  Lines script = {"SERVICE_CHECK_SCRIPT=nc $SERVICE_IP $SERVICE_PORT | grep OK"};
  CHECK(checkText(script) == "refused");
  CHECK(checkText(script, true) ==
        R"([{"Args":["/bin/sh","-c","nc 192.168.1.102 10000 | grep OK"],"Interval":"10s"}])");
  CHECK(checkText({"SERVICE_CHECK_CMD=/check"}) == "refused");
  CHECK(checkText({"SERVICE_CHECK_HTTP=/", "SERVICE_CHECK_TCP=true", "SERVICE_CHECK_CMD=x"}) ==
        R"([{"HTTP":"http://192.168.1.102:10000/","Interval":"10s"}])");
}

TEST_CASE("registrator: a registry is one agent of consul, or the servers of another one",
          "[registrator]") {
  auto url = [](const char* text, bool tls = false) {
    return parseRegistry(text).urls(tls).at(0) + parseRegistry(text).path;
  };
  CHECK(url("consul://10.0.0.1:8501") == "http://10.0.0.1:8501");
  CHECK(url("consul://10.0.0.1/") == "http://10.0.0.1:8500");
  CHECK(url("consul://") == "http://127.0.0.1:8500");
  CHECK(url("consul://[fd00::1]") == "http://[fd00::1]:8500");
  CHECK(url("consul-tls://consul.lab:8501") == "https://consul.lab:8501");
  CHECK(url("consul://10.0.0.1", true) == "https://10.0.0.1:8500");
  CHECK(url("etcd://10.0.0.1/services/") == "http://10.0.0.1:2379/services");
  CHECK(url("etcd-tls://") == "https://127.0.0.1:2379");
  CHECK(url("consulkv://10.0.0.1/services") == "http://10.0.0.1:8500/services");
  CHECK(url("skydns2://10.0.0.1/cluster.local") == "http://10.0.0.1:2379/skydns/local/cluster");
  CHECK(url("skydns2://10.0.0.1/lab") == "http://10.0.0.1:2379/skydns/lab");
  CHECK(parseRegistry("etcd://a,b:1/x/y").hosts == Lines{"a:2379", "b:1"});
  CHECK(parseRegistry("zookeeper://a,b:1/x").hosts == Lines{"a:2181", "b:1"});
  for (auto text :
       {"", "10.0.0.1", "etcd3://10.0.0.1", "consul://a:b", "consul://a,,b", "consul://a/path",
        "consulkv://a", "skydns2://a", "skydns2://a/b/c", "skydns2://a/.b", "skydns2://a/b..c",
        "etcd://a/../b", "etcd://a/b//c", "etcd://a,,b"}) {
    CAPTURE(text);
    auto outcome = attemptNow([&] { parseRegistry(text); });
    REQUIRE_FALSE(outcome.ok());
    CHECK(outcome.message().startsWith("registry is '"));
  }
}

TEST_CASE("registrator: a node's address is that of its cluster, without the port",
          "[registrator]") {
  CHECK(hostPartOf("10.0.0.1:2377") == "10.0.0.1");
  CHECK(hostPartOf("[fd00::1]:2377") == "fd00::1");
  CHECK(hostPartOf("") == "");
  CHECK_NOTHROW((checkAddress(""), checkAddress("10.0.0.1"), checkAddress("fd00::1")));
  CHECK_THROWS(checkAddress("here"));
}

}  // namespace
}  // namespace orch::integration::registrator
