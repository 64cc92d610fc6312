// Orders that end tasks, held back until nobody is led to these any more: each node that may lead
// connections to one has said that what it was told since is in force. Pure books; Sessions sends,
// and asks.
#pragma once

#include <kj/time.h>

#include <cstdint>
#include <list>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace orch::control::manager {

class OrderGate final {
 public:
  struct Order {
    std::string nodeId, taskId;
  };
  // Which of the messages to a node, counted from its session's first, say what was decided.
  using Messages = std::map<std::string, uint64_t>;

  // From now until `shut` for one batch of changes.
  void hold(const std::string& nodeId, const std::string& taskId);
  bool holds(const std::string& taskId) const { return held.count(taskId) > 0; }
  bool isOpen() const { return arriving.empty(); }
  // All that was held since the last time waits for these. Answers what need not wait.
  std::vector<Order> shut(Messages awaited, kj::TimePoint until);

  bool awaits(const std::string& nodeId) const;
  // Each answers the orders that may go now. `message` and those before it are in force on a node.
  std::vector<Order> inForce(const std::string& nodeId, uint64_t message);
  // Its session is over: what is said to it next is another's, and nothing waits for it.
  std::vector<Order> forget(const std::string& nodeId);
  // Nobody waits for ever. `late` gets the nodes that were waited for.
  std::vector<Order> expire(kj::TimePoint now, std::set<std::string>& late);
  void clear();

 private:
  struct Wave {
    std::vector<Order> orders;
    Messages awaited;
    kj::TimePoint until;
  };
  template <typename Over>
  std::vector<Order> release(Over&& isOver);

  std::vector<Order> arriving;
  std::set<std::string> held;  // tasks
  std::list<Wave> waves;
};

}  // namespace orch::control::manager
