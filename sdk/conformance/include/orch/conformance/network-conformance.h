// What every driver of one node's network has to keep (NetworkDriver in sdk/schema/network.capnp),
// as checks that know only the interface, and the subject's ways to end a run of the plugin and to
// begin another. They need root: they make sockets in the namespaces of tasks.
#pragma once

#include <kj/async.h>
#include <kj/common.h>

#include <string>
#include <vector>

#include "orch/schema/network.capnp.h"

namespace orch::conformance {

// One node with the plugin running on it and no task attached, made anew for each check.
class NetworkSubject {
 public:
  // A pool that can be used up: addresses for so many tasks.
  static constexpr uint32_t LEAST_ADDRESSES = 4;
  static constexpr uint32_t MOST_ADDRESSES = 64;

  virtual ~NetworkSubject() noexcept(false) {}
  virtual kj::WaitScope& waitScope() = 0;
  // Of the run that there is.
  virtual schema::NetworkDriver::Client driver() = 0;
  // Ends the run without `stop`, and begins another: configure, recover, start.
  virtual void crash() = 0;
  virtual void run() = 0;
  // Whether `crash` is a real one: what is under way has no end, and does not go on either. So it
  // is of a process that is killed.
  virtual bool crashesMidway() { return false; }
  // Returns when the node has something of each of these tasks and nothing of any other, whatever
  // that is with this plugin: namespaces, devices, files. Waits for what the system does by itself
  // a little later; fails, and says what it is, if something else stays.
  virtual void untilOnly(const std::vector<std::string>& taskIds) = 0;
};

struct NetworkCheck {
  const char* name;  // a sentence
  void (*run)(NetworkSubject& subject);
};

// Each needs a subject of its own and throws an exception that says what was not kept.
kj::ArrayPtr<const NetworkCheck> networkChecks();

}  // namespace orch::conformance
