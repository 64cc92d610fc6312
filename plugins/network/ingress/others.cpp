#include "others.h"

#include <netinet/in.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "lib/record-files.h"

namespace orch::network::ingress {

namespace {
constexpr const char* NODE_HEADER = "orch-mesh-node 1";
constexpr const char* FACTS_HEADER = "orch-mesh 1";
constexpr const char* FACTS_FILE = "self";
constexpr const char* NO_NAME = "";
}  // namespace

void Others::adopt(ReadOthers read) {
  own = std::move(read.facts);
  nodes = std::move(read.nodes);
  // Those that cannot be read are taken away.
  changed.insert(read.damaged.begin(), read.damaged.end());
}

std::vector<FlowsTo> Others::take(MeshNews news) {
  std::vector<FlowsTo> forget;
  if (news.complete) {
    for (auto& [id, node] : nodes) {
      if (news.nodes.count(id) == 0) news.gone.push_back(id);
    }
  }
  if (own.own != 0 && news.facts.own != own.own) {
    // What was sent to them came from an address that they cannot answer to any more.
    for (auto& entry : nodes) forget.push_back({entry.second.address, 0, true});
  }
  if (news.facts != own) changed.insert(NO_NAME);
  own = std::move(news.facts);
  for (auto& id : news.gone) {
    auto known = nodes.find(id);
    if (known == nodes.end()) continue;
    // Nobody answers there any more: who is connected to it is to hear of it.
    forget.push_back({known->second.address, 0, true});
    nodes.erase(known);
    changed.insert(id);
  }
  for (auto& [id, node] : news.nodes) {
    auto [at, added] = nodes.try_emplace(id);
    auto& known = at->second;
    if (!added && known == node) continue;
    changed.insert(id);
    if (!added && known.address != node.address) forget.push_back({known.address, 0, true});
    for (auto& [key, tasks] : known.tasks) {
      bool left = key.protocol == IPPROTO_UDP && node.tasks.count(key) == 0;
      if (left) forget.push_back({known.address, IPPROTO_UDP, true});
    }
    known = node;
  }
  return forget;
}

Shares Others::shares() const {
  Shares shares;
  for (auto& [id, node] : nodes) {
    for (auto& [key, count] : node.tasks) shares[key].push_back({node.address, count});
  }
  return shares;
}

std::set<Ipv4> Others::addresses() const {
  std::set<Ipv4> addresses;
  for (auto& entry : nodes) addresses.insert(entry.second.address);
  return addresses;
}

bool Others::serve() const {
  return std::any_of(nodes.begin(), nodes.end(),
                     [](auto& entry) { return !entry.second.tasks.empty(); });
}

Record Others::record(const Layout& layout, const std::string& name) const {
  if (name == NO_NAME) {
    return {layout.mesh(), FACTS_FILE, own.own == 0 ? "" : encodeFacts(own)};
  }
  auto known = nodes.find(name);
  return {layout.others(), name, known == nodes.end() ? "" : encodeNode(known->second)};
}

std::string encodeNode(const OtherNode& node) {
  std::vector<std::string> lines{kj::str("address ", ipv4Text(node.address)).cStr()};
  for (auto& [key, tasks] : node.tasks) {
    lines.push_back(kj::str("port ", protocolText(key.protocol), " ", key.port, " ", tasks).cStr());
  }
  return encodeLines(NODE_HEADER, lines);
}

std::optional<OtherNode> decodeNode(const std::string& text) {
  auto lines = decodeLines(NODE_HEADER, text);
  if (!lines) return std::nullopt;
  OtherNode node;
  for (auto& words : *lines) {
    if (words[0] == "address" && words.size() == 2) {
      node.address = parseIpv4(words[1].c_str()).value_or(0);
    } else if (words[0] == "port" && words.size() == 4) {
      auto protocol = protocolOf(words[1]);
      auto port = decodeNumber(words[2], 1, 65535);
      auto tasks = decodeNumber(words[3], 1, std::numeric_limits<uint32_t>::max());
      if (!protocol || !port || !tasks) return std::nullopt;
      node.tasks[{*protocol, static_cast<uint16_t>(*port)}] = *tasks;
    } else {
      return std::nullopt;
    }
  }
  if (node.address == 0) return std::nullopt;
  return node;
}

std::string encodeFacts(const MeshFacts& facts) {
  std::vector<std::string> lines{kj::str("address ", ipv4Text(facts.own)).cStr()};
  for (auto& subnet : facts.inside) {
    lines.push_back(kj::str("inside ", subnetText(subnet)).cStr());
  }
  return encodeLines(FACTS_HEADER, lines);
}

std::optional<MeshFacts> decodeFacts(const std::string& text) {
  auto lines = decodeLines(FACTS_HEADER, text);
  if (!lines) return std::nullopt;
  MeshFacts facts;
  for (auto& words : *lines) {
    if (words.size() != 2) return std::nullopt;
    if (words[0] == "address") {
      facts.own = parseIpv4(words[1].c_str()).value_or(0);
    } else if (words[0] == "inside") {
      auto subnet = parseSubnet(words[1].c_str());
      if (!subnet) return std::nullopt;
      facts.inside.push_back(*subnet);
    } else {
      return std::nullopt;
    }
  }
  if (facts.own == 0) return std::nullopt;
  return facts;
}

ReadOthers readOthers(const Layout& layout) {
  ReadOthers read;
  for (auto& [name, text] : readRecordFiles(layout.mesh())) {
    auto facts = name == FACTS_FILE ? decodeFacts(text) : std::nullopt;
    if (facts) {
      read.facts = std::move(*facts);
    } else {
      read.damaged.push_back(NO_NAME);
    }
  }
  for (auto& [id, text] : readRecordFiles(layout.others())) {
    auto node = decodeNode(text);
    if (node) {
      read.nodes.emplace(id, std::move(*node));
    } else {
      read.damaged.push_back(id);
    }
  }
  return read;
}

}  // namespace orch::network::ingress
