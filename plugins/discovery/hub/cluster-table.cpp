#include "cluster-table.h"

#include <algorithm>

namespace orch::discovery::hub {

bool ClusterTable::create(const std::string& token, int64_t nowMs) {
  if (clusters.size() >= limits.clusters) {
    auto oldest = std::min_element(clusters.begin(), clusters.end(), [](auto& a, auto& b) {
      return a.second.usedMs < b.second.usedMs;
    });
    if (nowMs - oldest->second.usedMs < limits.forgetAfterMs) return false;
    drop(oldest->first);
  }
  add(token, nowMs);
  return true;
}

void ClusterTable::drop(const std::string& token) {
  auto found = clusters.find(token);
  if (found == clusters.end()) return;
  allEntries -= found->second.rows.size();
  clusters.erase(found);
}

std::vector<std::string> ClusterTable::tokens() const {
  std::vector<std::string> all;
  for (auto& [token, cluster] : clusters) all.push_back(token);
  return all;
}

void ClusterTable::expire(Cluster& cluster, int64_t nowMs) {
  allEntries -= std::erase_if(cluster.rows, [&](auto& row) { return row.second.endMs <= nowMs; });
}

ClusterTable::Cluster* ClusterTable::find(const std::string& token, int64_t nowMs) {
  auto found = clusters.find(token);
  if (found == clusters.end()) return nullptr;
  found->second.usedMs = nowMs;
  expire(found->second, nowMs);
  return &found->second;
}

ClusterTable::Result ClusterTable::put(const std::string& token, const Registration& registration,
                                       int64_t ttlMs, int64_t nowMs) {
  auto* cluster = find(token, nowMs);
  if (cluster == nullptr) return Result::UNKNOWN;
  bool fresh = cluster->rows.count(registration.address) == 0;
  if (fresh && allEntries >= limits.allEntries) {
    for (auto& [other, one] : clusters) expire(one, nowMs);
  }
  if (fresh && (cluster->rows.size() >= limits.entries || allEntries >= limits.allEntries)) {
    return Result::FULL;
  }
  allEntries += fresh ? 1 : 0;
  cluster->rows[registration.address] = Row{registration, nowMs + ttlMs};
  return Result::DONE;
}

ClusterTable::Result ClusterTable::remove(const std::string& token, const std::string& address,
                                          int64_t nowMs) {
  auto* cluster = find(token, nowMs);
  if (cluster == nullptr) return Result::UNKNOWN;
  allEntries -= cluster->rows.erase(address);
  return Result::DONE;
}

ClusterTable::Result ClusterTable::list(const std::string& token, std::vector<Registration>& into,
                                        int64_t nowMs) {
  auto* cluster = find(token, nowMs);
  if (cluster == nullptr) return Result::UNKNOWN;
  for (auto& [address, row] : cluster->rows) into.push_back(row.registration);
  return Result::DONE;
}

std::string jsonOf(const std::vector<Registration>& all, bool details) {
  std::string json = "[";
  for (auto& one : all) {
    if (json.size() > 1) json += ',';
    if (!details) {
      json += '"' + one.address + '"';
      continue;
    }
    json += "{\"address\":\"" + one.address + "\",\"role\":\"" + one.role +
            "\",\"clusterDigest\":\"" + one.clusterDigest + "\",\"nodeId\":\"" + one.nodeId + "\"}";
  }
  return json + "]";
}

bool isRole(const std::string& text) {
  return text.empty() || text == "manager" || text == "worker";
}

bool isPlainWord(const std::string& text, size_t most) {
  return text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == ':' || c == '-';
         });
}

}  // namespace orch::discovery::hub
