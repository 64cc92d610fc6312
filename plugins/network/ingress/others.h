// What this node was told of the others, and of itself for their sake, as it is kept in files: the
// next orchd goes by it until it is told again. Pure but for `readOthers`.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "layout.h"
#include "lib/conntrack.h"
#include "mesh.h"
#include "port-table.h"
#include "record-text.h"

namespace orch::network::ingress {

// Another node. One without tasks is still there: connections to it go on.
struct OtherNode {
  Ipv4 address = 0;
  std::map<PortKey, uint32_t> tasks;
  bool operator==(const OtherNode&) const = default;
};
struct MeshNews {
  bool complete = false;
  MeshFacts facts;
  std::map<std::string, OtherNode> nodes;
  std::vector<std::string> gone;
};

// Of the last run. Damaged ones are not among them.
struct ReadOthers {
  MeshFacts facts;
  std::map<std::string, OtherNode> nodes;
  std::vector<std::string> damaged;  // their names
};

class Others final {
 public:
  void adopt(ReadOthers read);
  // In the books; what was led to somebody who does not answer any more is returned.
  std::vector<FlowsTo> take(MeshNews news);

  const MeshFacts& facts() const { return own; }
  // How many tasks of others take connections by each port.
  Shares shares() const;
  // Of all.
  std::set<Ipv4> addresses() const;
  // Whether any has a task that takes connections.
  bool serve() const;

  // The names of records that are not as the books are, once: an empty name is that of the facts.
  std::set<std::string> takeChanged() { return std::exchange(changed, {}); }
  void putBack(const std::set<std::string>& names) { changed.insert(names.begin(), names.end()); }
  // As it should be; an empty text: there should be none.
  Record record(const Layout& layout, const std::string& name) const;

 private:
  MeshFacts own;
  std::map<std::string, OtherNode> nodes;
  std::set<std::string> changed;
};

// Blocks; for worker threads.
ReadOthers readOthers(const Layout& layout);

std::string encodeNode(const OtherNode& node);
std::optional<OtherNode> decodeNode(const std::string& text);
std::string encodeFacts(const MeshFacts& facts);
std::optional<MeshFacts> decodeFacts(const std::string& text);

}  // namespace orch::network::ingress
