#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <limits>
#include <set>
#include <sstream>

#include "metrics.h"

namespace orch::api::http {
namespace {

// What promtool looks at, and that no family stands there twice.
void checkFormat(const std::string& text) {
  std::istringstream lines(text);
  std::string line, family, type;
  std::set<std::string> families, samples;
  while (std::getline(lines, line)) {
    INFO(line);
    std::istringstream words(line);
    std::string hash, what, name;
    if (line.starts_with("# HELP ")) {
      words >> hash >> what >> family;
      CHECK(families.insert(family).second);
      CHECK(family.starts_with("orch_"));
      CHECK(line.size() > 8 + family.size());
      continue;
    }
    if (line.starts_with("# TYPE ")) {
      words >> hash >> what >> name >> type;
      CHECK(name == family);
      CHECK((type == "counter") == name.ends_with("_total"));
      continue;
    }
    auto series = line.substr(0, line.rfind(' '));
    CHECK(series.substr(0, series.find('{')) == family);
    CHECK(samples.insert(series).second);
    char* end = nullptr;
    std::strtod(line.c_str() + series.size(), &end);
    CHECK(*end == '\0');
  }
}

bool has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST_CASE("exposition: has a family's help and type once and escapes what it must", "[api]") {
  Exposition to;
  to.family("orch_things", Exposition::Type::GAUGE, "Things\\\nof \"all\" kinds.");
  to.sample({}, uint64_t{18446744073709551615u});
  to.sample({{"kind", "a\\b\n\"c\""}, {"other", ""}}, 0.25);
  to.sample({{"kind", "x"}}, std::numeric_limits<double>::infinity());
  CHECK(to.text() ==
        "# HELP orch_things Things\\\\\\nof \"all\" kinds.\n"
        "# TYPE orch_things gauge\n"
        "orch_things 18446744073709551615\n"
        "orch_things{kind=\"a\\\\b\\n\\\"c\\\"\",other=\"\"} 0.25\n"
        "orch_things{kind=\"x\"} +Inf\n");
}

TEST_CASE("metrics: figures of plugins, in base units", "[api]") {
  capnp::MallocMessageBuilder message;
  auto results = message.initRoot<schema::Kernel::PluginsResults>();
  auto plugins = results.initPlugins(2);
  plugins[0].setId("store.local#agent");
  plugins[0].setVersion("1.0.0");
  plugins[0].setIsolation("kernel");
  plugins[0].setState(schema::PluginStatus::State::RUNNING);
  plugins[0].setCalls(12);
  plugins[0].setCallP99Us(512);
  plugins[1].setId("image.oci");
  plugins[1].setState(schema::PluginStatus::State::FAILED);
  plugins[1].setRestarts(3);
  plugins[1].setPid(7);
  plugins[1].setMemoryBytes(4096);
  Exposition to;
  describePlugins(to, plugins.asReader());
  checkFormat(to.text());
  CHECK(has(to.text(),
            "orch_plugin_info{plugin=\"store.local#agent\",version=\"1.0.0\","
            "isolation=\"kernel\",state=\"running\"} 1"));
  CHECK(has(to.text(), "orch_plugin_up{plugin=\"store.local#agent\"} 1"));
  CHECK(has(to.text(), "orch_plugin_up{plugin=\"image.oci\"} 0"));
  CHECK(has(to.text(), "orch_plugin_restarts_total{plugin=\"image.oci\"} 3"));
  CHECK(has(to.text(), "orch_plugin_calls_total{plugin=\"store.local#agent\"} 12"));
  CHECK(has(to.text(), "orch_plugin_call_p99_seconds{plugin=\"store.local#agent\"} 0.000512"));
  CHECK(has(to.text(), "orch_plugin_resident_memory_bytes{plugin=\"image.oci\"} 4096"));
  CHECK(to.text().find("bytes{plugin=\"store.local#agent\"}") == std::string::npos);
}

TEST_CASE("metrics: figures of the cluster, with a zero for each state that nothing has", "[api]") {
  capnp::MallocMessageBuilder nodesMessage, servicesMessage, tasksMessage, statusMessage;
  auto nodes = nodesMessage.initRoot<schema::ClusterControl::NodesResults>().initNodes(2);
  nodes[0].setState(schema::Node::State::READY);
  nodes[0].initMeta().setId("i1");
  nodes[1].initMeta().setId("i2");
  nodes[1].setState(schema::Node::State::DOWN);
  nodes[1].initDescription().setHostname("n1");  // it came back as another node
  nodes[0].initDescription().setHostname("n1");
  nodes[0].getDescription().setCpuNanos(2'500'000'000);
  nodes[0].getDescription().setMemoryBytes(1 << 30);
  auto services =
      servicesMessage.initRoot<schema::ClusterControl::ServicesResults>().initServices(1);
  services[0].setName("web");
  services[0].setMode("replicated");
  services[0].setDesired(3);
  services[0].setRunning(2);
  services[0].setUpdateState(schema::UpdateStatus::State::UPDATING);
  auto tasks = tasksMessage.initRoot<schema::ClusterControl::TasksResults>().initTasks(3);
  for (unsigned i = 0; i < 3; ++i) {
    tasks[i].setServiceName("web");
    tasks[i].setDesired(i < 2 ? schema::TaskState::RUNNING : schema::TaskState::SHUTDOWN);
    tasks[i].setRestarts(i + 1);
    tasks[i].initStatus().setState(i < 2 ? schema::TaskState::RUNNING : schema::TaskState::FAILED);
  }
  auto status = statusMessage.initRoot<schema::ClusterStatus>();
  status.setLeader("n1");
  status.setLedSinceNs(1'500'000'000);
  auto managers = status.initManagers(1);
  managers[0].setName("n1");
  managers[0].setId("i1");
  managers[0].setReach(schema::ManagerStatus::Reach::LEADER);
  status.initStore().setName("store.local");
  status.getStore().setLatencyUs(250);
  Exposition to;
  describeNodes(to, nodes.asReader());
  describeServices(to, services.asReader());
  describeTasks(to, tasks.asReader());
  describeStatus(to, status.asReader());
  checkFormat(to.text());
  for (auto line : {
           "orch_nodes{state=\"ready\"} 1",
           "orch_nodes{state=\"unknown\"} 0",
           "orch_nodes{state=\"down\"} 1",
           "orch_nodes_by_availability{availability=\"active\"} 2",
           "orch_node_up{node=\"n1\",id=\"i1\"} 1",
           "orch_node_cpu_cores{node=\"n1\",id=\"i1\"} 2.5",
           "orch_node_memory_bytes{node=\"n1\",id=\"i1\"} 1073741824",
           "orch_services{mode=\"replicated\"} 1",
           "orch_service_tasks_desired{service=\"web\"} 3",
           "orch_service_tasks_running{service=\"web\"} 2",
           "orch_service_updating{service=\"web\"} 1",
           "orch_service_update_paused{service=\"web\"} 0",
           "orch_tasks{state=\"running\"} 2",
           "orch_tasks{state=\"failed\"} 1",
           "orch_tasks{state=\"pending\"} 0",
           "orch_service_restarts{service=\"web\"} 3",
           "orch_cluster_has_leader 1",
           "orch_cluster_led_since_timestamp_seconds 1.5",
           "orch_manager_reachable{manager=\"n1\",id=\"i1\"} 1",
           "orch_store_up{store=\"store.local\"} 1",
           "orch_store_answer_seconds{store=\"store.local\"} 0.00025",
       }) {
    INFO(line);
    CHECK(has(to.text(), line));
  }
}

TEST_CASE("metrics: what tasks and nodes use, where it is known", "[api]") {
  capnp::MallocMessageBuilder message;
  auto results = message.initRoot<schema::ClusterControl::UsageResults>();
  auto tasks = results.initTasks(3);
  for (unsigned i = 0; i < 3; ++i) {
    tasks[i].setTask("web.1");  // two of them while it is updated
    tasks[i].setNode("n1");
    tasks[i].initUsage().setId(kj::str("t", i));
    tasks[i].getUsage().setCpuNs(1'500'000'000);
    tasks[i].getUsage().setPids(4);
  }
  tasks[0].getUsage().setMemoryBytes(1 << 20);
  tasks[2].setMissing("node 'n1' is down");
  auto nodes = results.initNodes(1);
  nodes[0].setId("i1");
  nodes[0].setNode("n1");
  nodes[0].setReservedCpuNanos(500'000'000);
  nodes[0].initHost().setCpuNs(2'000'000'000);
  Exposition to;
  describeUsage(to, results.asReader());
  checkFormat(to.text());
  for (auto line : {
           "orch_task_cpu_seconds_total{task=\"web.1\",node=\"n1\",id=\"t0\"} 1.5",
           "orch_task_cpu_seconds_total{task=\"web.1\",node=\"n1\",id=\"t1\"} 1.5",
           "orch_task_memory_bytes{task=\"web.1\",node=\"n1\",id=\"t0\"} 1048576",
           "orch_task_processes{task=\"web.1\",node=\"n1\",id=\"t1\"} 4",
           "orch_node_cpu_busy_seconds_total{node=\"n1\",id=\"i1\"} 2",
           "orch_node_cpu_reserved_cores{node=\"n1\",id=\"i1\"} 0.5",
           "orch_usage_missing{kind=\"task\"} 1",
           "orch_usage_missing{kind=\"node\"} 0",
       }) {
    INFO(line);
    CHECK(has(to.text(), line));
  }
  CHECK(to.text().find("t2") == std::string::npos);
  CHECK(to.text().find("memory_bytes{task=\"web.1\",node=\"n1\",id=\"t1\"}") == std::string::npos);
  CHECK(to.text().find("used_bytes{") == std::string::npos);
}

}  // namespace
}  // namespace orch::api::http
