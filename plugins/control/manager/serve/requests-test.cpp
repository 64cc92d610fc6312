#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using Mode = schema::PortSpec::PublishMode;

struct BadInput {
  const char* what;
  std::function<void(schema::ServiceSpec::Builder)> more;
  const char* expected;  // part of the text
};

void publish(schema::ServiceSpec::Builder spec, uint16_t target, uint16_t published,
             Mode mode = Mode::INGRESS) {
  auto old = spec.getEndpoint().getPorts();
  capnp::MallocMessageBuilder copy;
  auto list = copy.initRoot<schema::EndpointSpec>().initPorts(old.size() + 1);
  for (uint32_t i = 0; i < old.size(); ++i) list.setWithCaveats(i, old[i]);
  list[old.size()].setTarget(target);
  list[old.size()].setPublished(published);
  list[old.size()].setMode(mode);
  spec.getEndpoint().setPorts(list.asReader());
}

template <typename F>
std::function<void(schema::ServiceSpec::Builder)> container(F change) {
  return [change](schema::ServiceSpec::Builder spec) { change(spec.getTask().getContainer()); };
}
template <typename F>
std::function<void(schema::ServiceSpec::Builder)> task(F change) {
  return [change](schema::ServiceSpec::Builder spec) { change(spec.getTask()); };
}
std::function<void(schema::ServiceSpec::Builder)> image(const char* reference) {
  return container([reference](auto it) { it.setImage(reference); });
}
std::function<void(schema::ServiceSpec::Builder)> mounts(std::vector<const char*> targets,
                                                         const char* source,
                                                         schema::Mount::Type type) {
  return container([=](auto it) {
    auto list = it.initMounts(targets.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setType(type);
      list[i].setSource(source);
      list[i].setTarget(targets[i]);
    }
  });
}

// Past 70 lines: a table, one entry per kind of bad input.
const std::vector<BadInput>& badInputs() {
  using Type = schema::Mount::Type;
  static const std::vector<BadInput> INPUTS = {
      {"no name", [](auto it) { it.setName(""); }, "the service name ''"},
      {"name with a space", [](auto it) { it.setName("a b"); }, "the service name 'a b'"},
      {"name begins with -", [](auto it) { it.setName("-web"); }, "begin with a letter"},
      {"long name", [](auto it) { it.setName(std::string(64, 'x').c_str()); }, "1 to 63"},
      {"no image", image(""), "an image is needed"},
      {"image in capitals", image("Web"), "lower-case letters"},
      {"image with an empty tag", image("web:"), "a tag has at most"},
      {"image with a bad digest", image("web@sha256:12"), "no sha256 digest"},
      {"image with a bad port", image("registry:port/web"), "is no registry"},
      {"replicas", [](auto it) { it.getMode().initReplicated().setReplicas(1'000'001); },
       "at most 1000000 replicas, not 1000001"},
      {"cpu limit", task([](auto it) { it.initResources().setLimitCpuNanos(999'999); }),
       "--limit-cpu must be at least 0.001 cores, not 0.000999999"},
      {"memory limit", task([](auto it) { it.initResources().setLimitMemoryBytes(4194303); }),
       "--limit-memory must be at least 4m, not 4194303b"},
      {"swap", task([](auto it) { it.initResources().setMemorySwapBytes(5); }),
       "--memory-swap 5b, which is memory plus swap, needs --limit-memory"},
      {"relative working directory", container([](auto it) { it.setWorkdir("tmp"); }),
       "--workdir must be an absolute path, not 'tmp'"},
      {"relative mount", mounts({"data"}, "/srv", Type::BIND),
       "must be an absolute path, not 'data'"},
      {"relative source", mounts({"/data"}, "srv", Type::BIND), "the source of a bind mount"},
      {"mounts of one target", mounts({"/data", "/data/"}, "/srv", Type::BIND),
       "two mounts have the target '/data'"},
      {"mount over /", mounts({"/"}, "/srv", Type::BIND), "target '/'"},
      {"tmpfs with a source", mounts({"/data"}, "/srv", Type::TMPFS), "cannot have a source"},
      {"volume name", mounts({"/data"}, "../x", Type::VOLUME), "the volume name '../x'"},
      {"signal", container([](auto it) { it.setStopSignal("SIGTRM"); }),
       "or a number of 1 to 64; did you mean 'TERM'?"},
      {"capability", container([](auto it) { it.initCapAdd(1).set(0, "NET_ADMN"); }),
       "no capability 'NET_ADMN' for --cap-add; use a name as NET_ADMIN, or ALL; did you mean"},
      {"ulimit", container([](auto it) {
         auto limit = it.initUlimits(1)[0];
         limit.setName("nofile");
         limit.setSoft(10);
         limit.setHard(5);
       }),
       "nofile=10:5"},
      {"env", container([](auto it) { it.initEnv(1).set(0, "=x"); }), "must be NAME=VALUE"},
      {"env with a NUL",
       container([](auto it) { it.initEnv(1).set(0, kj::heapString("A=b\0c", 5)); }),
       "a value of --env has a NUL byte in it"},
      {"env with a template",
       container([](auto it) { it.initEnv(1).set(0, "SLOT={{ .Task.Slt }}"); }),
       "the environment variable 'SLOT={{ .Task.Slt }}' has a template that cannot be filled in: "
       "there is no '.Slt'; there are .ID, .Name, .Slot, at column 14"},
      {"template without an end",
       container([](auto it) { it.initEnv(1).set(0, "SLOT={{.Task.Slot}"); }),
       "'}' is not understood"},
      {"template of a label that there is not",
       container([](auto it) { it.initEnv(1).set(0, "T={{.Service.Labels.tier}}"); }),
       "the service has no label 'tier'"},
      {"hostname with a template",
       container([](auto it) { it.setHostname("{{.Task.Name}}-{{.Task.Name}}-{{.Node.ID}}"); }),
       "must be at most 63 letters"},
      {"mount with a template", mounts({"/data"}, "/{{.Service.Name}}", Type::VOLUME),
       "the volume name '/web' is a path"},
      {"hostname", container([](auto it) { it.setHostname("a b"); }),
       "must be at most 63 letters, digits, '-', '_' and '.'"},
      {"long hostname", container([](auto it) { it.setHostname(std::string(64, 'a').c_str()); }),
       "must be at most 63 letters"},
      {"path as volume", mounts({"/data"}, "/srv", Type::VOLUME),
       "is a path, which needs type=bind"},
      {"dns", container([](auto it) { it.initDns(1).set(0, "1.2.3"); }), "must be an IP address"},
      {"host", container([](auto it) { it.initHosts(1).set(0, "db"); }), "must be NAME:ADDRESS"},
      {"port without a target", [](auto it) { publish(it, 0, 80); }, "needs a target port"},
      {"port twice",
       [](auto it) {
         publish(it, 80, 8080);
         publish(it, 81, 8080, Mode::HOST);
       },
       "port 8080/tcp is published twice"},
      {"dnsrr with ingress",
       [](auto it) {
         publish(it, 80, 8080);
         it.getEndpoint().setMode(schema::EndpointSpec::Mode::DNSRR);
       },
       "endpoint mode dnsrr"},
      {"dnsrr with an algorithm",
       [](auto it) {
         it.getEndpoint().setMode(schema::EndpointSpec::Mode::DNSRR);
         it.getEndpoint().setAlgorithm(schema::EndpointSpec::Algorithm::SH);
       },
       "--lb-algorithm cannot be combined with --endpoint-mode dnsrr"},
      {"dnsrr with persistence",
       [](auto it) {
         it.getEndpoint().setMode(schema::EndpointSpec::Mode::DNSRR);
         it.getEndpoint().setPersistenceMs(10'000);
       },
       "--lb-persistence cannot be combined with --endpoint-mode dnsrr"},
      {"persistence below a second", [](auto it) { it.getEndpoint().setPersistenceMs(100); },
       "--lb-persistence must be 0s, or 1s to 720h"},
      {"restart delay", task([](auto it) { it.initRestart().setDelayMs(-2); }),
       "must not be negative"},
      {"rollback of a rollback",
       [](auto it) {
         it.initRollback().setFailureAction(schema::UpdateConfig::FailureAction::ROLLBACK);
       },
       "--rollback-failure-action must be pause or continue, not rollback"},
      {"failure ratio of a rollback", [](auto it) { it.initRollback().setMaxFailureRatio(-1); },
       "--rollback-max-failure-ratio must be between 0 and 1"},
      {"preference",
       task([](auto it) { it.initPlacement().initSpreadOver(1).set(0, "node.role"); }),
       "--placement-pref spread=node.role must name a label"},
      {"failure ratio", [](auto it) { it.initUpdate().setMaxFailureRatio(1.5); },
       "between 0 and 1"},
      {"runtime", task([](auto it) { it.setRuntime("simm"); }),
       "no node has the runtime 'simm' of --runtime; there is sim; did you mean 'sim'?"},
      {"network", task([](auto it) { it.initNetworks(1)[0].setName("brige"); }),
       "no network 'brige' for --network; there is bridge, host, none; did you mean 'bridge'?"},
      {"alias", task([](auto it) {
         auto network = it.initNetworks(1)[0];
         network.setName("bridge");
         network.initAliases(1).set(0, "db");
       }),
       "--network 'bridge' knows no names: an alias is for networks that span hosts"},
      {"two networks", task([](auto it) {
         auto names = it.initNetworks(2);
         names[0].setName("bridge");
         names[1].setName("back");
       }),
       "a task has one network of its node: choose one of 'back', 'bridge'"},
      {"host network with another", task([](auto it) {
         auto list = it.initNetworks(2);
         list[0].setName("host");
         list[1].setName("bridge");
       }),
       "'host' cannot be combined"},
      {"strategy", task([](auto it) { it.initPlacement().setStrategy("sprad"); }),
       "no scheduler 'sprad' for --strategy; there is spread; did you mean 'spread'?"},
      {"reservation over the limit", task([](auto it) {
         it.initResources().setReserveMemoryBytes(16 << 20);
         it.getResources().setLimitMemoryBytes(8 << 20);
       }),
       "--reserve-memory 16m is larger than --limit-memory 8m"},
      {"drain", container([](auto it) { it.setDrainMs(90'000'000); }),
       "--drain-timeout must be at most 24h, not 25h"},
      {"health interval", container([](auto it) { it.initHealth().setIntervalMs(90'000'000); }),
       "--health-interval must be at most 24h, not 25h"},
      {"health test", container([](auto it) { it.initHealth().initTest(1).set(0, "CMD"); }),
       "must be CMD and its words, CMD-SHELL and one text, or NONE"},
      {"grace", container([](auto it) { it.setStopGraceMs(90'000'000); }),
       "--stop-grace-period must be at most 24h, not 25h"},
      {"update delay", [](auto it) { it.initUpdate().setDelayMs(1ull << 40); }, "--update-delay"},
      {"sysctl of the node", container([](auto it) {
         auto one = it.initSysctls(1)[0];
         one.setKey("vm.swappiness");
         one.setValue("1");
       }),
       "--sysctl 'vm.swappiness' belongs to the node"},
      {"sysctl of the host's network",
       [](auto it) {
         it.getTask().initNetworks(1)[0].setName("host");
         auto one = it.getTask().getContainer().initSysctls(1)[0];
         one.setKey("net.core.somaxconn");
       },
       "cannot be combined with --network host"},
      {"port without a network",
       [](auto it) {
         publish(it, 80, 8080, Mode::HOST);
         it.getTask().initNetworks(1)[0].setName("none");
       },
       "--publish cannot be combined with --network none"},
      {"too many ports",
       [](auto it) {
         auto ports = it.getEndpoint().initPorts(65'535);
         for (uint32_t i = 0; i < ports.size(); ++i) {
           ports[i].setTarget(i + 1);
           ports[i].setPublished(i + 1);
         }
       },
       "at most 1024 ports, not 65535"},
      {"not UTF-8", container([](auto it) { it.initEnv(1).set(0, "A=\xff"); }),
       "a value of --env is not valid UTF-8"},
      {"real-time signal", container([](auto it) { it.setStopSignal("RTMIN+31"); }),
       "no signal 'RTMIN+31'"},
      {"constraint", task([](auto it) { it.initPlacement().initConstraints(1).set(0, "node.id"); }),
       "expects one of ==, !=,"},
      {"constraint key",
       task([](auto it) { it.initPlacement().initConstraints(1).set(0, "node.disk==ssd"); }),
       "has the unknown key"},
      {"too large",
       container([](auto it) { it.initEnv(1).set(0, ("A=" + std::string(300'000, 'x')).c_str()); }),
       "too large"},
  };
  return INPUTS;
}

TEST_CASE("requests: what could never work is refused and changes nothing", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode().open();
  auto before = cluster.store.commits();
  for (auto& input : badInputs()) {
    CAPTURE(input.what);
    Spec spec;
    spec.more = input.more;
    auto error = cluster.createError(spec);
    CHECK(error.find("usage: ") == 0);
    CHECK_THAT(error, Catch::Contains(input.expected));
    CHECK(error.find('\n') == std::string::npos);
  }
  CHECK(cluster.store.commits() == before);
}

TEST_CASE("requests: a network without isolation is never suggested", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode().open();
  Spec spec;
  spec.more = [](schema::ServiceSpec::Builder it) {
    it.getTask().initNetworks(1)[0].setName("hots");
  };
  CHECK(cluster.createError(spec) ==
        "usage: no network 'hots' for --network; there is bridge, host, none");
}

TEST_CASE("requests: image references that docker users write", "[manager]") {
  TestCluster cluster;
  cluster.start();
  uint32_t number = 0;
  for (auto reference :
       {"nginx", "nginx:1.25-alpine", "team/app", "registry:5000/team/app:1.2", "localhost/app",
        "a.b.example/x__y/z--w:T_1", "[::1]:5000/app", "docker.io/library/busybox",
        "app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}) {
    CHECK(cluster.createError({"s" + std::to_string(++number), 0, reference, {}}) == "");
  }
}

TEST_CASE("requests: host names and variables that docker users write", "[manager]") {
  TestCluster cluster;
  cluster.start();
  Spec spec{"web", 0, "web:1", {}};
  spec.more = container([](auto it) {
    it.setHostname("build_01.lan");
    // Of somebody else's templates.
    it.initEnv(1).set(0, "FORMAT={{\"{{\"}}.Message}} {{`{{ json . }} {{`}}");
  });
  CHECK(cluster.createError(spec) == "");
}

TEST_CASE("requests: signals that docker users write", "[manager]") {
  TestCluster cluster;
  cluster.start();
  uint32_t number = 0;
  for (auto signal : {"TERM", "sigterm", "15", "64", "RTMIN", "SIGRTMIN+3", "rtmin+30", "RTMAX-1",
                      "SIGPOLL", "IO", "IOT"}) {
    CAPTURE(signal);
    Spec spec{"s" + std::to_string(++number), 0, "web:1", {}};
    spec.more = container([signal](auto it) { it.setStopSignal(signal); });
    CHECK(cluster.createError(spec) == "");
  }
}

TEST_CASE("requests: names in use, unknown, ambiguous or mistyped", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto error = [&](const char* typed) {
    auto request = cluster.control.serviceRequest();
    request.setId(typed);
    auto outcome = attempt(request.send()).wait(cluster.world.waitScope());
    return outcome.ok() ? std::string() : std::string(plainText(outcome.error()).cStr());
  };
  CHECK(error("web") == "no service 'web'");
  auto id = cluster.create({"web", 0});
  CHECK_THAT(cluster.createError({"web", 0}), Catch::Contains("service 'web' exists already"));
  CHECK(error("wbe") == "no service 'wbe'; did you mean 'web'?");
  CHECK(error(id.c_str()) == "");
  CHECK(error(id.substr(0, 8).c_str()) == "");
  for (int i = 0; i < 40; ++i) cluster.create({"s" + std::to_string(i), 0});
  auto ambiguous = error(id.substr(0, 1).c_str());
  if (!ambiguous.empty()) CHECK_THAT(ambiguous, Catch::Contains("more than one service id"));
}

TEST_CASE("requests: published ports conflict by name, and free ones are chosen", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto with = [](const char* name, uint16_t published, Mode mode) {
    Spec spec{name, 0, "web:1", {}};
    spec.more = [=](schema::ServiceSpec::Builder it) { publish(it, 80, published, mode); };
    return spec;
  };
  cluster.create(with("web", 8080, Mode::INGRESS));
  CHECK(cluster.createError(with("two", 8080, Mode::INGRESS)) ==
        "port 8080/tcp is already published by service 'web'; choose another one");
  CHECK_THAT(cluster.createError(with("two", 8080, Mode::HOST)), Catch::Contains("service 'web'"));
  CHECK(cluster.createError(with("three", 9090, Mode::HOST)) == "");
  CHECK(cluster.createError(with("four", 9090, Mode::HOST)) == "");
  CHECK_THAT(cluster.createError(with("five", 9090, Mode::INGRESS)), Catch::Contains("9090/tcp"));
  cluster.create(with("dynamic", 0, Mode::INGRESS));
  uint16_t chosen = cluster.service("dynamic").getService().getPorts()[0].getPublished();
  CHECK(chosen >= 30000);
  CHECK(chosen <= 32767);
  auto again = with("dynamic", 0, Mode::INGRESS);
  again.image = "web:2";
  CHECK(cluster.update(again) == "");
  CHECK(cluster.service("dynamic").getService().getPorts()[0].getPublished() == chosen);
  cluster.remove("web");
  CHECK(cluster.createError(with("two", 8080, Mode::INGRESS)) == "");
}

TEST_CASE("requests: the same request id gives the first answer and changes nothing more",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  std::string first;
  for (int round = 0; round < 3; ++round) {
    auto request = cluster.control.createServiceRequest();
    request.setRequestId("the-same");
    auto spec = request.initSpec();
    spec.setName("web");
    spec.getMode().initReplicated().setReplicas(0);
    spec.initTask().initContainer().setImage("web");
    auto response = request.send().wait(cluster.world.waitScope());
    std::string id = response.getService().getMeta().getId().cStr();
    if (round == 0) first = id;
    CHECK(id == first);
    if (round == 1) {  // also after a restart
      cluster.stop();
      cluster.start();
    }
  }
  auto other = cluster.control.scaleServiceRequest();
  other.setRequestId("the-same");
  other.setId("web");
  auto outcome = attempt(other.send()).wait(cluster.world.waitScope());
  REQUIRE(!outcome.ok());
  CHECK_THAT(plainText(outcome.error()).cStr(), Catch::Contains("was used for 'createService'"));
  // Forgotten after ten minutes.
  auto before = cluster.store.commits();
  cluster.advance(11 * kj::MINUTES);
  CHECK(cluster.store.commits() == before + 1);
}

TEST_CASE("requests: a stale version, another name and another mode are refused", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.create({"web", 0});
  auto version = cluster.service("web").getService().getMeta().getVersion();
  auto update = [&](uint64_t version, const char* name) {
    auto request = cluster.control.updateServiceRequest();
    request.setRequestId(cluster.world.env().newId());
    request.setId("web");
    request.setVersion(version);
    auto spec = request.initSpec();
    spec.setName(name);
    spec.getMode().initReplicated().setReplicas(0);
    spec.initTask().initContainer().setImage("web:2");
    auto outcome = attempt(request.send()).wait(cluster.world.waitScope());
    return outcome.ok() ? std::string() : std::string(plainText(outcome.error()).cStr());
  };
  CHECK(update(version, "web") == "");
  auto newer = cluster.service("web").getService().getMeta().getVersion();
  CHECK(update(version, "web") ==
        std::string(kj::str("update out of sequence: service 'web' is at version ", newer,
                            ", the update was made from ", version,
                            "; read it again and repeat the change")
                        .cStr()));
  CHECK_THAT(update(0, "other"), Catch::Contains("renaming services is not supported"));
}

TEST_CASE("requests: an address pool refuses before tasks are made", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.addresses = 5;
  node.open();
  cluster.create({"web", 3});
  CHECK(
      cluster.createError({"more", 3}) ==
      "network 'bridge' has 5 addresses for tasks, but 6 would be needed; use fewer replicas or a "
      "larger subnet");
  CHECK(cluster.createError({"more", 2}) == "");
}

TEST_CASE("requests: a network's used addresses are those that tasks have now", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.addresses = 5;
  node.open();
  cluster.create({"web", 3});
  cluster.settle();
  auto used = [&] {
    auto network = cluster.control.networkRequest();
    network.setId("bridge");
    auto described = network.send().wait(cluster.world.waitScope());
    auto options = described.getNetwork().getOptions();
    auto request = cluster.control.nodeRequest();
    request.setId("node1");
    auto answer = request.send().wait(cluster.world.waitScope());
    auto pool = answer.getNode().getDescription().getNetworks()[0];
    CHECK(kj::str(pool.getUsed()) == options[1].getValue());
    return pool.getUsed();
  };
  CHECK(used() == 3);
  cluster.scale("web", 1);
  cluster.settle();
  CHECK(used() == 1);
}

TEST_CASE("requests: without a cluster nothing can be made; init makes one, once", "[manager]") {
  TestCluster cluster;
  cluster.autoInit = false;
  cluster.start();
  CHECK_THAT(cluster.createError({}), Catch::Contains("'orch init' makes one"));
  auto init = [&] {
    auto request = cluster.control.initRequest();
    request.setRequestId(cluster.world.env().newId());
    return request.send().wait(cluster.world.waitScope());
  };
  auto first = init();
  CHECK(first.getCreated());
  CHECK(first.getCluster().getName() == "default");
  auto second = init();
  CHECK(!second.getCreated());
  CHECK(second.getCluster().getMeta().getId() == first.getCluster().getMeta().getId());
  CHECK(cluster.createError({}) == "");
}

}  // namespace
}  // namespace orch::control::manager
