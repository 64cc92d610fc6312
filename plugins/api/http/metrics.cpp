#include "metrics.h"

namespace orch::api::http {

namespace {

constexpr auto GAUGE = Exposition::Type::GAUGE;
constexpr auto COUNTER = Exposition::Type::COUNTER;

std::string_view plain(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
double ofBool(bool value) { return value ? 1 : 0; }

// One sample for each of a list.
template <typename List, typename Value>
void each(Exposition& to, std::string_view name, Exposition::Type type, std::string_view help,
          std::string_view label, List list, Value value) {
  to.family(name, type, help);
  for (auto one : list) to.sample({{label, value.name(one)}}, value.of(one));
}
// The same of nodes, which may have one name: a host that came back as another node.
template <typename List, typename Id, typename Value>
void eachNode(Exposition& to, std::string_view name, std::string_view help, std::string_view label,
              List list, Id id, Value value) {
  to.family(name, GAUGE, help);
  for (auto one : list) to.sample({{label, value.name(one)}, {"id", id(one)}}, value.of(one));
}
template <typename Name, typename Of>
struct NamedValue {
  Name name;
  Of of;
};
template <typename Name, typename Of>
NamedValue(Name, Of) -> NamedValue<Name, Of>;

}  // namespace

void describePlugins(Exposition& to, capnp::List<schema::PluginStatus>::Reader plugins) {
  using Plugin = schema::PluginStatus::Reader;
  auto id = [](Plugin plugin) { return plain(plugin.getId()); };
  to.family("orch_plugin_info", GAUGE, "Plugins of this node's manifest; always 1.");
  for (auto plugin : plugins) {
    to.sample({{"plugin", id(plugin)},
               {"version", plain(plugin.getVersion())},
               {"isolation", plain(plugin.getIsolation())},
               {"state", nameOf(plugin.getState())}},
              uint64_t{1});
  }
  each(to, "orch_plugin_up", GAUGE, "Whether the plugin runs.", "plugin", plugins,
       NamedValue{id, [](Plugin plugin) {
                    return ofBool(plugin.getState() == schema::PluginStatus::State::RUNNING);
                  }});
  each(to, "orch_plugin_restarts_total", COUNTER,
       "Starts of the plugin after one that failed, since orchd started.", "plugin", plugins,
       NamedValue{id, [](Plugin plugin) { return uint64_t{plugin.getRestarts()}; }});
  each(to, "orch_plugin_calls_total", COUNTER, "RPC calls into the plugin that were answered.",
       "plugin", plugins, NamedValue{id, [](Plugin plugin) { return plugin.getCalls(); }});
  each(to, "orch_plugin_call_p99_seconds", GAUGE,
       "99 of 100 calls into the plugin were answered within this time, rounded up to a power of "
       "two of microseconds.",
       "plugin", plugins, NamedValue{id, [](Plugin plugin) {
                                       return static_cast<double>(plugin.getCallP99Us()) / 1e6;
                                     }});
  to.family("orch_plugin_resident_memory_bytes", GAUGE,
            "Memory of the plugin's own process; none of plugins in orchd.");
  for (auto plugin : plugins) {
    if (plugin.getPid() != 0) to.sample({{"plugin", id(plugin)}}, plugin.getMemoryBytes());
  }
}

void describeStatus(Exposition& to, schema::ClusterStatus::Reader status) {
  using Manager = schema::ManagerStatus::Reader;
  using Reach = schema::ManagerStatus::Reach;
  to.gauge("orch_cluster_has_leader", "Whether some manager leads the cluster.",
           ofBool(status.getLeader().size() > 0));
  to.gauge("orch_cluster_epoch", "Number of the leadership; each change of it is one more.",
           static_cast<double>(status.getEpoch()));
  to.gauge("orch_cluster_led_since_timestamp_seconds", "When the leader began to lead.",
           static_cast<double>(status.getLedSinceNs()) / 1e9);
  to.gauge("orch_cluster_managers_losable",
           "So many managers can be lost one after the other and another one leads yet.",
           status.getCanLose());
  to.gauge("orch_cluster_state_objects", "Objects of the cluster's state.",
           static_cast<double>(status.getObjects()));
  to.gauge("orch_cluster_state_bytes", "Memory of these.", static_cast<double>(status.getBytes()));
  to.gauge("orch_cluster_state_revision", "Revision of the cluster's state.",
           static_cast<double>(status.getRevision()));
  auto name = [](Manager manager) {
    return plain(manager.getName().size() > 0 ? manager.getName() : manager.getId());
  };
  auto id = [](Manager manager) { return plain(manager.getId()); };
  eachNode(to, "orch_manager_reachable", "Whether the manager leads, or the leader reaches it.",
           "manager", status.getManagers(), id,
           NamedValue{name, [](Manager manager) {
                        auto reach = manager.getReach();
                        return ofBool(reach == Reach::LEADER || reach == Reach::REACHABLE);
                      }});
  to.family("orch_manager_behind_seconds", GAUGE,
            "For so long a follower's copy of the state has not been what the leader had.");
  for (auto manager : status.getManagers()) {
    if (manager.getBehindMs() < 0) continue;
    to.sample({{"manager", name(manager)}, {"id", id(manager)}},
              static_cast<double>(manager.getBehindMs()) / 1e3);
  }
  auto store = status.getStore();
  to.family("orch_store_up", GAUGE, "Whether the store of the cluster's state answers.");
  to.sample({{"store", plain(store.getName())}}, ofBool(store.getProblem().size() == 0));
  to.family("orch_store_answer_seconds", GAUGE, "How long the store took for one answer.");
  if (store.getLatencyUs() > 0) {
    to.sample({{"store", plain(store.getName())}}, static_cast<double>(store.getLatencyUs()) / 1e6);
  }
}

void describeNodes(Exposition& to, capnp::List<schema::Node>::Reader nodes) {
  using Node = schema::Node::Reader;
  to.family("orch_nodes", GAUGE, "Nodes of the cluster by state.");
  countEach<schema::Node::State>(to, "state", nodes, [](Node node) { return node.getState(); });
  to.family("orch_nodes_by_availability", GAUGE, "Nodes of the cluster by availability.");
  countEach<schema::Node::Availability>(to, "availability", nodes,
                                        [](Node node) { return node.getAvailability(); });
  auto name = [](Node node) { return plain(node.getDescription().getHostname()); };
  auto id = [](Node node) { return plain(node.getMeta().getId()); };
  to.family("orch_node_info", GAUGE, "Nodes of the cluster; always 1.");
  for (auto node : nodes) {
    auto description = node.getDescription();
    to.sample({{"node", name(node)},
               {"id", id(node)},
               {"role", nameOf(node.getRole())},
               {"availability", nameOf(node.getAvailability())},
               {"version", plain(description.getEngineVersion())},
               {"architecture", plain(description.getArchitecture())}},
              uint64_t{1});
  }
  eachNode(to, "orch_node_up", "Whether the node is ready.", "node", nodes, id,
           NamedValue{name, [](Node node) {
                        return ofBool(node.getState() == schema::Node::State::READY);
                      }});
  eachNode(to, "orch_node_cpu_cores", "Cores that the node has.", "node", nodes, id,
           NamedValue{name, [](Node node) {
                        return static_cast<double>(node.getDescription().getCpuNanos()) / 1e9;
                      }});
  eachNode(to, "orch_node_memory_bytes", "Memory that the node has.", "node", nodes, id,
           NamedValue{name, [](Node node) { return node.getDescription().getMemoryBytes(); }});
  eachNode(to, "orch_node_problems", "What a user should see to on the node.", "node", nodes, id,
           NamedValue{name, [](Node node) { return uint64_t{node.getProblems().size()}; }});
}

void describeServices(Exposition& to, capnp::List<schema::ServiceRow>::Reader services) {
  using Row = schema::ServiceRow::Reader;
  using Update = schema::UpdateStatus::State;
  std::map<std::string_view, uint64_t> modes;
  for (auto row : services) ++modes[plain(row.getMode())];
  to.family("orch_services", GAUGE, "Services by mode.");
  for (auto& [mode, count] : modes) to.sample({{"mode", mode}}, count);
  auto name = [](Row row) { return plain(row.getName()); };
  each(to, "orch_service_tasks_desired", GAUGE, "Tasks of the service that should run.", "service",
       services, NamedValue{name, [](Row row) { return uint64_t{row.getDesired()}; }});
  each(to, "orch_service_tasks_running", GAUGE, "Tasks of the service that run.", "service",
       services, NamedValue{name, [](Row row) { return uint64_t{row.getRunning()}; }});
  each(to, "orch_service_updating", GAUGE, "Whether an update or a rollback is under way.",
       "service", services,
       NamedValue{name, [](Row row) {
                    auto state = row.getUpdateState();
                    return ofBool(state == Update::UPDATING || state == Update::ROLLBACK_STARTED);
                  }});
  each(to, "orch_service_update_paused", GAUGE, "Whether an update or a rollback waits for a user.",
       "service", services,
       NamedValue{name, [](Row row) {
                    auto state = row.getUpdateState();
                    return ofBool(state == Update::PAUSED || state == Update::ROLLBACK_PAUSED);
                  }});
}

void describeTasks(Exposition& to, capnp::List<schema::Task>::Reader tasks) {
  using Task = schema::Task::Reader;
  to.family("orch_tasks", GAUGE, "Tasks by state, ended ones that are kept included.");
  countEach<schema::TaskState>(to, "state", tasks,
                               [](Task task) { return task.getStatus().getState(); });
  std::map<std::string_view, uint64_t> restarts;
  for (auto task : tasks) {
    if (task.getDesired() > schema::TaskState::RUNNING) continue;
    restarts[plain(task.getServiceName())] += task.getRestarts();
  }
  to.family("orch_service_restarts", GAUGE,
            "Restarts of the service's slots since its spec last changed.");
  for (auto& [service, count] : restarts) to.sample({{"service", service}}, count);
}

void describeEvents(Exposition& to, const EventCounts::Counts& counts) {
  to.family("orch_events_total", COUNTER, "Events on this node's bus since api.http started.");
  for (auto& [topic, count] : counts.topics) to.sample({{"topic", topic}}, count);
  to.counter("orch_events_missed_total", "Events that api.http was too slow to count.",
             counts.missed);
}

void describeServer(Exposition& to, const NetFigures& net,
                    const std::map<unsigned, uint64_t>& answers, size_t streams) {
  to.family("orch_http_requests_total", COUNTER, "Requests that api.http has answered.");
  for (auto& [status, count] : answers) to.sample({{"code", std::to_string(status)}}, count);
  to.counter("orch_http_requests_refused_total",
             "Requests that were no HTTP, too large, too slow, or of another method.", net.refused);
  to.gauge("orch_http_connections", "Connections to api.http that are open.",
           static_cast<double>(net.connections));
  to.gauge("orch_http_streams", "Of these, those that follow events or a log.",
           static_cast<double>(streams));
  to.counter("orch_http_connections_accepted_total", "Connections to api.http.", net.accepted);
  to.counter("orch_http_connections_turned_away_total",
             "Connections to api.http past its limit of them.", net.turnedAway);
}

}  // namespace orch::api::http
