// The clusters of a hub and who is registered in them. Pure: time comes in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace orch::discovery::hub {

// What classic Swarm's clients do not send is empty.
struct Registration {
  std::string address;
  std::string role;  // `manager`, `worker` or empty
  std::string clusterDigest;
  std::string nodeId;
};

struct TableLimits {
  size_t clusters = 1000;
  size_t entries = 10'000;  // of one cluster
  size_t allEntries = 100'000;
  int64_t forgetAfterMs = 604'800'000;
};

class ClusterTable final {
 public:
  explicit ClusterTable(TableLimits limits) : limits(limits) {}

  // False if there are too many. May forget the one that has been idle for longest.
  bool create(const std::string& token, int64_t nowMs);
  // One that has been made before.
  void add(const std::string& token, int64_t nowMs) { clusters[token].usedMs = nowMs; }
  void drop(const std::string& token);
  std::vector<std::string> tokens() const;

  enum class Result { DONE, UNKNOWN, FULL };
  Result put(const std::string& token, const Registration& registration, int64_t ttlMs,
             int64_t nowMs);
  // One that is not there is done.
  Result remove(const std::string& token, const std::string& address, int64_t nowMs);
  // Those whose time is not over, by address.
  Result list(const std::string& token, std::vector<Registration>& into, int64_t nowMs);

 private:
  struct Row {
    Registration registration;
    int64_t endMs = 0;
  };
  struct Cluster {
    int64_t usedMs = 0;
    std::map<std::string, Row> rows;
  };
  // Of a cluster that is used now: without what is over.
  Cluster* find(const std::string& token, int64_t nowMs);
  void expire(Cluster& cluster, int64_t nowMs);

  TableLimits limits;
  std::map<std::string, Cluster> clusters;
  size_t allEntries = 0;
};

// The two forms of an answer: classic's array of addresses, or one of objects.
std::string jsonOf(const std::vector<Registration>& all, bool details);

// Roles that there are, and what goes into a URL, a JSON text and a log as it is.
bool isRole(const std::string& text);
bool isPlainWord(const std::string& text, size_t most);

}  // namespace orch::discovery::hub
