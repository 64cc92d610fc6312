// A task's leg in a network, and the file that keeps it so that the next orchd knows it. Text, one
// `key value` per line, readable by whoever looks for an error.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/ipv4.h"
#include "lib/netns.h"

namespace orch::network::overlay {

// What is left to a task of the network that it has on its node beside its legs.
enum class WayOut : uint8_t {
  OPEN,
  ANSWERS,  // to those who come to it; it begins nothing there
  NONE
};

struct Leg {
  std::string network;  // id
  std::string taskId;
  std::string namespacePath;
  std::string device;  // in the task's namespace
  Ipv4 address = 0;
  uint8_t prefix = 0;
  WayOut wayOut = WayOut::OPEN;
  bool operator==(const Leg&) const = default;
};

std::string encodeLeg(const Leg& leg);
// Empty if the text is not a complete record.
std::optional<Leg> decodeLeg(const std::string& text);

// These block; for worker threads. A record is replaced as a whole or not at all; it need not
// survive the machine, since what it describes does not either.
void writeLeg(const std::string& folder, const Leg& leg, const Step& step = nullptr);
void removeLeg(const std::string& folder, const Leg& leg);  // gone is success
struct ReadLegs {
  std::vector<Leg> legs;
  std::vector<std::string> damaged;  // names of files, which are removed
};
// Makes the folder if it is not there.
ReadLegs readLegs(const std::string& folder);

}  // namespace orch::network::overlay
