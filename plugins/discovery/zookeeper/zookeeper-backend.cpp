#include "zookeeper-backend.h"

#include <kj/debug.h>

#include "lib/address.h"
#include "lib/backend-server.h"
#include "lib/entry.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "zookeeper/persist.h"

namespace orch::discovery::zookeeper {

namespace {

using orch::zookeeper::Code;
using orch::zookeeper::Lives;
using orch::zookeeper::Multi;
using orch::zookeeper::Read;

// After something that trying again at once would not change.
constexpr kj::Duration LOOK_PAUSE = 1 * kj::SECONDS;
// Somebody else was faster.
constexpr int MAX_RACES = 5;
// Entries that one node registers.
constexpr size_t MAX_OWN = 1000;

bool isMissing(Code code) { return code == Code::NO_NODE; }

}  // namespace

ZookeeperBackend::ZookeeperBackend(Env& env, Place place, orch::zookeeper::ClientSettings settings,
                                   kj::Duration timeout)
    : env(env), place(std::move(place)), timeout(timeout), client(env, std::move(settings)) {
  client.turned = [this](bool up) { turned(up); };
  turned(false);
}

void ZookeeperBackend::turned(bool up) {
  complaint = nullptr;
  if (up) {
    if (lookAgain.get() != nullptr) lookAgain->fulfill();
    return;
  }
  // Another server may take over without anybody noticing.
  complaint = env.timer()
                  .afterDelay(timeout)
                  .then([this] { watchers->failed(client.lostText().c_str()); })
                  .eagerlyEvaluate(nullptr);
}

Task<void> ZookeeperBackend::follow() {
  for (;;) {
    co_await client.connected();
    auto pair = kj::newPromiseAndFulfiller<void>();
    lookAgain = kj::mv(pair.fulfiller);
    auto looking = tidy().promise().then([this] { return look().promise(); });
    auto outcome = co_await attempt(looking.exclusiveJoin(kj::mv(pair.promise)));
    bool refused = !outcome.ok() && outcome.error().getType() != kj::Exception::Type::DISCONNECTED;
    if (!refused) continue;
    watchers->failed(outcome.message());
    auto pause =
        LOOK_PAUSE * 9 / 10 + LOOK_PAUSE / 5 * static_cast<int64_t>(env.random() % 1000) / 1000;
    co_await env.timer().afterDelay(pause);
  }
}

Task<void> ZookeeperBackend::look() {
  auto watched = client.watchChildren(place.nodes);
  auto listing = co_await watched.read;
  if (isMissing(listing.code)) {
    auto made = client.watchMade(place.nodes);
    auto there = co_await made.read;
    if (there.code == Code::OK) co_return;  // by now
    if (!isMissing(there.code)) client.failWith(there.code);
    watchers->present(answerWith({}));
    co_await made.changed;
    co_return;
  }
  if (listing.code != Code::OK) client.failWith(listing.code);
  if (listing.names.size() > MAX_ENTRIES) {
    fail(kj::str(client.name().c_str(), ": it names more than ", MAX_ENTRIES, " addresses"));
  }
  auto outcome = co_await attempt(read(listing.names));
  if (outcome.ok()) {
    watchers->present(answerWith(outcome.value()));
  } else if (outcome.error().getType() == kj::Exception::Type::FAILED) {
    watchers->failed(outcome.message());
  } else {
    kj::throwFatalException(kj::mv(outcome.error()));
  }
  co_await watched.changed;
}

// The details by address. Fails with DISCONNECTED if one has gone since it was listed: a part of
// what was there is no list.
Task<std::map<std::string, std::string>> ZookeeperBackend::read(
    const std::vector<std::string>& names) {
  std::vector<kj::Promise<Read>> nodes, details;
  for (auto& name : names) {
    nodes.push_back(client.get(place.nodes + "/" + name));
    details.push_back(client.get(place.details + "/" + name));
  }
  std::map<std::string, std::string> all;
  for (size_t i = 0; i < names.size(); ++i) {
    auto node = co_await nodes[i];
    auto more = co_await details[i];
    if (isMissing(node.code)) client.failWith(Code::LOST);
    if (node.code != Code::OK) client.failWith(node.code);
    auto address = attemptNow([&] { return parseAddress(node.value); });
    if (!address.ok()) {
      fail(kj::str(client.name().c_str(), ": the node '", place.nodes.c_str(), "/",
                   names[i].c_str(), "' names what is no address: ", address.message()));
    }
    all[address.value()] = more.code == Code::OK ? more.value : "";
  }
  co_return kj::mv(all);
}

Task<void> ZookeeperBackend::tidy() {
  std::vector<std::string> addresses;
  for (auto& [address, entry] : own) addresses.push_back(address);
  for (auto& address : addresses) {
    auto pass = co_await writing.enter();
    auto found = own.find(address);
    if (found == own.end()) continue;
    bool over = found->second.over;
    auto details = found->second.details;
    std::optional<bool> done;
    for (int i = 0; i < MAX_RACES && !done; ++i) {
      auto trying = over ? erase(address, true) : enter(address, details);
      auto outcome = co_await attempt(kj::mv(trying));
      if (outcome.ok()) {
        done = outcome.value();
        continue;
      }
      if (outcome.error().getType() == kj::Exception::Type::DISCONNECTED) {
        kj::throwFatalException(kj::mv(outcome.error()));
      }
      break;  // who may not write may still read; the next registration says so
    }
    found = own.find(address);
    bool gone = over && done && found != own.end() && found->second.over;
    if (gone) own.erase(found);
  }
}

Task<void> ZookeeperBackend::makeFolder(std::string path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    auto done = co_await client.create(path.substr(0, end), "");
    bool there = done.code == Code::OK || done.code == Code::NODE_EXISTS;
    if (!there) client.failWith(done.code);
    if (end == std::string::npos) break;
  }
}

Task<std::optional<bool>> ZookeeperBackend::enter(std::string address, std::string details) {
  auto nodePath = place.nodes + "/" + address, detailsPath = place.details + "/" + address;
  auto session = client.sessionId();
  auto nodeRead = client.get(nodePath);
  auto detailsRead = client.get(detailsPath);
  auto node = co_await nodeRead;
  auto more = co_await detailsRead;
  for (auto code : {node.code, more.code}) {
    bool known = code == Code::OK || isMissing(code);
    if (!known) client.failWith(code);
  }
  bool mine = node.code == Code::OK && more.code == Code::OK && node.owner == session &&
              more.owner == session && node.value == address && more.value == details;
  if (mine) co_return true;
  // A node of another session, as of this host's orchd before it was started again, is made anew:
  // in one step, so that nobody misses it, and everybody looks.
  Multi multi;
  if (node.code == Code::OK) multi.remove(nodePath, node.version);
  if (more.code == Code::OK) multi.remove(detailsPath, more.version);
  multi.create(nodePath, address, Lives::WITH_SESSION)
      .create(detailsPath, details, Lives::WITH_SESSION);
  auto done = co_await client.multi(multi);
  if (done.code == Code::OK) co_return true;
  bool raced =
      done.code == Code::NODE_EXISTS || done.code == Code::BAD_VERSION || isMissing(done.code);
  if (!raced) client.failWith(done.code);
  if (isMissing(done.code)) {
    co_await makeFolder(place.nodes);
    co_await makeFolder(place.details);
  }
  co_return std::nullopt;
}

Task<std::optional<bool>> ZookeeperBackend::erase(std::string address, bool onlyOwn) {
  auto folders = kj::arr(place.nodes, place.details);  // a list in braces ends g++ 12
  for (auto& folder : folders) {
    auto path = folder + "/" + address;
    auto node = co_await client.get(path);
    if (isMissing(node.code)) continue;
    if (node.code != Code::OK) client.failWith(node.code);
    bool others = onlyOwn && node.owner != client.sessionId();
    if (others) continue;
    auto done = co_await client.remove(path, node.version);
    if (isMissing(done.code)) continue;
    if (done.code == Code::BAD_VERSION) co_return std::nullopt;
    if (done.code != Code::OK) client.failWith(done.code);
  }
  co_return true;
}

Task<void> ZookeeperBackend::put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs) {
  checkEntry(entry, ttlMs);
  std::string address = entry.getAddress().cStr();
  if (own.size() >= MAX_OWN && own.count(address) == 0) {
    fail(kj::str("this node has registered ", MAX_OWN, " entries; no more are accepted"));
  }
  auto& mine = own[address];
  mine.details = detailsOf(entry);
  mine.over = false;
  // Whoever is away when its time comes takes it away when he is back.
  mine.ending = env.timer()
                    .afterDelay(static_cast<int64_t>(ttlMs) * kj::MILLISECONDS)
                    .then([this, address] { tasks.add(expire(address)); })
                    .eagerlyEvaluate(nullptr);
  return enterInTime(address, mine.details);
}

Task<void> ZookeeperBackend::enterInTime(std::string address, std::string details) {
  auto pass = co_await writing.enter();
  auto once = [this, address, details] { return enter(address, details); };
  co_await orch::zookeeper::persist<bool>(env, client, timeout, kj::mv(once));
}

Task<void> ZookeeperBackend::expire(std::string address) {
  auto found = own.find(address);
  if (found == own.end()) co_return;
  found->second.over = true;
  auto pass = co_await writing.enter();
  for (;;) {
    found = own.find(address);
    if (found == own.end() || !found->second.over) co_return;
    auto once = [this, address] { return erase(address, true); };
    auto erasing = orch::zookeeper::persistInTime<bool>(env, client, timeout, kj::mv(once));
    auto outcome = co_await attempt(kj::mv(erasing));
    found = own.find(address);
    bool still = found != own.end() && found->second.over;
    // What is refused now is tried again with the next connection.
    if (!still || !outcome.ok()) co_return;
    if (outcome.value()) break;
  }
  own.erase(found);
}

Task<void> ZookeeperBackend::remove(std::string address) {
  if (!isAddress(address)) {
    fail(kj::str("address is '", address.c_str(), "'; accepted: host:port, in lower case"));
  }
  own.erase(address);
  auto pass = co_await writing.enter();
  auto once = [this, address] { return erase(address, false); };
  co_await orch::zookeeper::persist<bool>(env, client, timeout, kj::mv(once));
}

void ZookeeperBackend::taskFailed(kj::Exception&& exception) { KJ_LOG(ERROR, exception); }

schema::Discovery::Client newZookeeperServer(kj::Own<ZookeeperBackend> backend) {
  return kj::heap<BackendServer<ZookeeperBackend>>(kj::mv(backend), "a ZooKeeper");
}

}  // namespace orch::discovery::zookeeper
