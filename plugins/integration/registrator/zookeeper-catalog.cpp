#include "zookeeper-catalog.h"

#include <boost/json.hpp>

#include "etcd-catalog.h"
#include "orch/fail.h"

namespace orch::integration::registrator {

namespace {

using orch::zookeeper::Code;
using orch::zookeeper::Lives;
using orch::zookeeper::Multi;
using orch::zookeeper::Read;

constexpr const char* NODE_ATTRIBUTE = "orch-node";

bool isMissing(Code code) { return code == Code::NO_NODE; }

boost::json::string_view jsonView(const std::string& text) { return {text.data(), text.size()}; }

// Nobody else writes this into a value.
bool isOf(const Read& read, const std::string& nodeId) {
  auto mark = std::string("\"") + NODE_ATTRIBUTE + "\":\"" + nodeId + "\"";
  return read.value.find(mark) != std::string::npos;
}

}  // namespace

std::string znodeText(const ServiceEntry& entry, const std::string& nodeId) {
  boost::json::object root;
  root["Name"] = jsonView(entry.name);
  root["IP"] = jsonView(entry.address);
  root["PublicPort"] = entry.port;
  root["PrivatePort"] = entry.privatePort;
  root["ContainerID"] = jsonView(entry.taskId);
  boost::json::array tags;
  for (auto& tag : entry.tags) tags.emplace_back(jsonView(tag));
  root["Tags"] = std::move(tags);
  boost::json::object attributes;
  attributes[NODE_ATTRIBUTE] = jsonView(nodeId);
  for (auto& [key, value] : entry.attributes) attributes.emplace(jsonView(key), jsonView(value));
  root["Attrs"] = std::move(attributes);
  return boost::json::serialize(root);
}

ZookeeperCatalog::ZookeeperCatalog(Env& env, orch::zookeeper::ClientSettings settings,
                                   ZookeeperRules rules)
    : env(env), settings(std::move(settings)), rules(std::move(rules)) {}

void ZookeeperCatalog::open(std::string user, std::string password) {
  settings.user = std::move(user);
  settings.password = std::move(password);
  connection.emplace(env, settings);
}

orch::zookeeper::Client& ZookeeperCatalog::client() {
  return KJ_REQUIRE_NONNULL(connection, "not opened");
}

kj::String ZookeeperCatalog::name() const {
  return kj::str("ZooKeeper at ", orch::zookeeper::namesOf(settings.servers).c_str());
}

std::string ZookeeperCatalog::placeOf(const ServiceEntry& entry) const {
  return entry.name + "/" + hostPortOf(entry);
}

std::string ZookeeperCatalog::recordOf(const ServiceEntry& entry) const {
  return znodeText(entry, rules.nodeId);
}

kj::Promise<void> ZookeeperCatalog::reached() {
  auto late = env.timer().afterDelay(rules.timeout).then([this]() {
    fail(kj::str(client().lostText().c_str()));
  });
  return client().connected().exclusiveJoin(kj::mv(late));
}

Task<void> ZookeeperCatalog::makeFolder(std::string path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    auto done = co_await client().create(path.substr(0, end), "");
    bool there = done.code == Code::OK || done.code == Code::NODE_EXISTS;
    if (!there) client().failWith(done.code);
    if (end == std::string::npos) break;
  }
}

Task<void> ZookeeperCatalog::readFolder(std::string name, std::string nodeId,
                                        std::map<std::string, Read>& found) {
  auto folder = rules.path + "/" + name;
  auto listing = co_await client().children(folder);
  if (isMissing(listing.code)) co_return;
  if (listing.code != Code::OK) client().failWith(listing.code);
  for (auto& child : listing.names) {
    auto read = co_await client().get(folder + "/" + child);
    if (isMissing(read.code)) continue;
    if (read.code != Code::OK) client().failWith(read.code);
    if (isOf(read, nodeId)) found[name + "/" + child] = kj::mv(read);
  }
}

Task<std::map<std::string, Read>> ZookeeperCatalog::readOf(std::string nodeId) {
  co_await reached();
  std::map<std::string, Read> found;
  std::string top = rules.path.empty() ? "/" : rules.path;
  auto listing = co_await client().children(top);
  if (isMissing(listing.code)) co_return kj::mv(found);
  if (listing.code != Code::OK) client().failWith(listing.code);
  for (auto& name : listing.names) co_await readFolder(name, nodeId, found);
  co_return kj::mv(found);
}

Task<Catalog::Records> ZookeeperCatalog::list() {
  co_await reached();
  session = client().session();
  auto found = co_await readOf(rules.nodeId);
  Records records;
  // What goes with an earlier session is made again before that ends.
  for (auto& [place, read] : found) {
    records[place] = read.owner == client().sessionId() ? read.value : std::string();
  }
  co_return kj::mv(records);
}

Task<std::string> ZookeeperCatalog::put(ServiceEntry entry) {
  if (entry.name.find('/') != std::string::npos) {
    co_return std::string("ZooKeeper cannot have a name with '/' in it");
  }
  auto folder = rules.path + "/" + entry.name;
  auto path = rules.path + "/" + placeOf(entry);
  co_await makeFolder(folder);
  auto there = co_await client().get(path);
  bool known = there.code == Code::OK || isMissing(there.code);
  if (!known) client().failWith(there.code);
  bool others = there.code == Code::OK && !isOf(there, rules.nodeId);
  if (others) co_return std::string("there is a node that is not of this host; it is left alone");
  Multi multi;
  if (there.code == Code::OK) multi.remove(path, there.version);
  multi.create(path, recordOf(entry), Lives::WITH_SESSION);
  auto done = co_await client().multi(multi);
  if (done.code != Code::OK) client().failWith(done.code);
  co_return std::string();
}

Task<void> ZookeeperCatalog::removeOf(std::string nodeId, std::string place) {
  auto path = rules.path + "/" + place;
  auto there = co_await client().get(path);
  if (isMissing(there.code)) co_return;
  if (there.code != Code::OK) client().failWith(there.code);
  if (!isOf(there, nodeId)) co_return;
  auto done = co_await client().remove(path, there.version);
  bool gone = done.code == Code::OK || isMissing(done.code);
  if (!gone) client().failWith(done.code);
  // The last one takes the service's folder along. If there is another one it stays.
  co_await client().remove(path.substr(0, path.rfind('/')));
}

Task<void> ZookeeperCatalog::remove(std::string place) {
  return removeOf(rules.nodeId, std::move(place));
}

Task<void> ZookeeperCatalog::forgetNode(std::string nodeId) {
  auto found = co_await readOf(nodeId);
  for (auto& one : found) co_await removeOf(nodeId, one.first);
}

Task<void> ZookeeperCatalog::renew(std::vector<std::string>) {
  co_await reached();
  if (client().session() != session) fail(kj::str("its session has ended, and what it had there"));
}

}  // namespace orch::integration::registrator
