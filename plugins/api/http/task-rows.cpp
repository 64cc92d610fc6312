#include "task-rows.h"

#include "metrics.h"
#include "orch/json/json.h"

namespace orch::api::http {

namespace {

void appendText(std::string& to, const char* key, capnp::Text::Reader text) {
  to += key;
  to += jsonText(text).cStr();
}
void appendName(std::string& to, const char* key, std::string_view name) {
  to += key;
  to += '"';
  to += name;
  to += '"';
}

std::string slotOf(schema::Task::Reader task) {
  auto node = task.getSlot() == 0 ? task.getNodeId() : capnp::Text::Reader();
  return kj::str(task.getServiceId(), " ", task.getSlot(), " ", node).cStr();
}

// What is under way, or stands for what should be and failed.
bool isShown(schema::Task::Reader task, bool newest) {
  using State = schema::TaskState;
  auto state = task.getStatus().getState();
  if (state < State::COMPLETE || task.getDesired() <= State::RUNNING) return true;
  return newest && (state == State::FAILED || state == State::REJECTED || state == State::ORPHANED);
}

}  // namespace

std::string taskRows(capnp::List<schema::Task>::Reader tasks, bool all) {
  std::string text = "[", last;
  for (auto task : tasks) {
    auto slot = slotOf(task);
    bool newest = slot != last;  // the newest of a slot comes first
    last = std::move(slot);
    if (!all && !isShown(task, newest)) continue;
    auto status = task.getStatus();
    if (text.size() > 1) text += ",\n";
    appendText(text, "{\"id\":", task.getMeta().getId());
    appendText(text, ",\"service\":", task.getServiceName());
    text += ",\"slot\":" + std::to_string(task.getSlot());
    appendText(text, ",\"node\":", task.getNodeId());
    appendName(text, ",\"state\":", nameOf(status.getState()));
    appendName(text, ",\"desired\":", nameOf(task.getDesired()));
    text += ",\"atNs\":\"" + std::to_string(status.getAtNs()) + "\"";
    text += ",\"restarts\":" + std::to_string(task.getRestarts());
    if (status.getContainer().getHealth() != schema::Health::NONE) {
      appendName(text, ",\"health\":", nameOf(status.getContainer().getHealth()));
    }
    auto said = status.getError().size() > 0 ? status.getError() : status.getMessage();
    if (said.size() > 0) appendText(text, ",\"message\":", said);
    text += '}';
  }
  return text + "]\n";
}

}  // namespace orch::api::http
