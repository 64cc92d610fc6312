#include "leg.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "lib/names.h"
#include "orch/durable-file.h"

namespace orch::network::overlay {

namespace {
constexpr const char* HEADER = "orch-network-leg 1";
constexpr const char* TRAILER = "end";
constexpr uint32_t LONGEST_PREFIX = 32;
constexpr const char* WAYS_OUT[] = {"open", "answers", "none"};

std::string pathOf(const std::string& folder, const Leg& leg) {
  return folder + "/" + leg.network + "@" + leg.taskId;
}

bool isWhole(const Leg& leg) {
  return isId(leg.network.c_str()) && isId(leg.taskId.c_str()) && !leg.namespacePath.empty() &&
         !leg.device.empty() && leg.address != 0 && leg.prefix != 0;
}
}  // namespace

std::string encodeLeg(const Leg& leg) {
  std::ostringstream text;
  text << HEADER << "\nnetwork " << leg.network << "\ntask " << leg.taskId << "\naddress "
       << ipv4Text(leg.address).cStr() << "\nprefix " << int(leg.prefix) << "\ndevice "
       << leg.device << "\nnamespace " << leg.namespacePath << "\nwayout "
       << WAYS_OUT[static_cast<size_t>(leg.wayOut)] << "\n"
       << TRAILER << "\n";
  return text.str();
}

std::optional<Leg> decodeLeg(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != HEADER) return std::nullopt;
  Leg leg;
  while (std::getline(lines, line)) {
    if (line == TRAILER) return isWhole(leg) ? std::optional(leg) : std::nullopt;
    auto space = line.find(' ');
    auto key = line.substr(0, space);
    auto value = space == std::string::npos ? "" : line.substr(space + 1);
    if (key == "network") leg.network = value;
    if (key == "task") leg.taskId = value;
    if (key == "address") leg.address = parseIpv4(value.c_str()).value_or(0);
    if (key == "device") leg.device = value;
    if (key == "namespace") leg.namespacePath = value;
    if (key == "wayout") {
      for (auto way : {WayOut::OPEN, WayOut::ANSWERS, WayOut::NONE}) {
        if (value == WAYS_OUT[static_cast<size_t>(way)]) leg.wayOut = way;
      }
    }
    if (key == "prefix") {
      auto prefix = std::strtoul(value.c_str(), nullptr, 10);
      if (prefix <= LONGEST_PREFIX) leg.prefix = prefix;
    }
  }
  return std::nullopt;  // cut short
}

void writeLeg(const std::string& folder, const Leg& leg, const Step& step) {
  auto text = encodeLeg(leg);
  if (step) step();
  replaceFile(pathOf(folder, leg), kj::StringPtr(text.c_str(), text.size()).asBytes(),
              Outlives::PROCESS);
}

void removeLeg(const std::string& folder, const Leg& leg) {
  auto path = pathOf(folder, leg);
  if (unlink(path.c_str()) == 0) return;
  int error = errno;
  KJ_ASSERT(error == ENOENT, "cannot remove a record", path.c_str(), strerror(error));
}

ReadLegs readLegs(const std::string& folder) {
  std::filesystem::create_directories(folder);
  ReadLegs read;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    std::ostringstream text;
    text << file.rdbuf();
    auto leg = decodeLeg(text.str());
    if (leg && entry.path() == pathOf(folder, *leg)) {
      read.legs.push_back(std::move(*leg));
      continue;
    }
    read.damaged.push_back(entry.path().filename().string());
    std::filesystem::remove(entry.path());
  }
  return read;
}

}  // namespace orch::network::overlay
