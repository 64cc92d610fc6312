#include "journal/replay.h"

#include "orch/fail.h"

namespace orch::control::manager {

namespace {
constexpr int MOST_ROUNDS = 1'000;  // of placing some at a time

// Without the strategies that its services name.
template <typename T>
Words withoutStrategy(const Words& words) {
  capnp::MallocMessageBuilder message;
  message.setRoot(capnp::readMessageUnchecked<T>(words.begin() + 1));
  auto object = message.getRoot<T>();
  if constexpr (std::is_same_v<T, schema::Service>) {
    object.getSpec().getTask().getPlacement().disownStrategy();
  } else {
    object.getSpec().getPlacement().disownStrategy();
  }
  return toWords(object.asReader());
}

// The task before it was given a node.
Words unplaced(const Words& words) {
  capnp::MallocMessageBuilder message;
  message.setRoot(capnp::readMessageUnchecked<schema::Task>(words.begin() + 1));
  auto task = message.getRoot<schema::Task>();
  task.disownNodeId();
  task.disownLegs();
  task.disownGeneric();
  return toWords(task.asReader());
}

schema::Task::Reader taskOf(const Words& words) {
  return capnp::readMessageUnchecked<schema::Task>(words.begin() + 1);
}
}  // namespace

Replay::Replay(Env& env, Host& host, kj::StringPtr defaultStrategy, kj::StringPtr strategy,
               int64_t sinceNs)
    : scheduling(
          env, host, strategy.size() > 0 ? strategy : defaultStrategy, [](auto) {},
          Scheduling::ANSWER_LIMIT),
      replaces(strategy.size() > 0),
      sinceNs(sinceNs) {}

namespace {
std::string idIn(Kind kind, const Words& words) {
  Snapshot object{words.begin()};
  if (kind == Kind::TASK) return TaskReader(object).id();
  if (kind == Kind::SERVICE) return text(object.as<schema::Service>().getMeta().getId());
  if (kind == Kind::NODE) return text(object.as<schema::Node>().getMeta().getId());
  if (kind == Kind::NETWORK) return text(object.as<schema::Network>().getMeta().getId());
  return text(object.as<schema::Cluster>().getMeta().getId());
}
}  // namespace

Change Replay::changeOf(Kind kind, JournalChange::Reader change) const {
  Change result;
  if (kind == Kind::REQUEST || kind == Kind::ADMIN) {
    fail(kj::str("no journal has objects of kind '", change.getKind(), "'"));
  }
  if (change.getObject().size() > 0) {
    result.words = checkedWords(RecordKind{kind, false}, change.getObject());
    if (idIn(kind, result.words) != text(change.getId())) {
      fail(kj::str("the ", change.getKind(), " '", change.getId(), "' has another id"));
    }
    if (replaces && kind == Kind::SERVICE) {
      result.words = withoutStrategy<schema::Service>(result.words);
    }
    if (replaces && kind == Kind::TASK) result.words = withoutStrategy<schema::Task>(result.words);
  }
  if (change.getStatus().size() > 0) {
    result.status = checkedWords(RecordKind{kind, true}, change.getStatus());
  }
  return result;
}

Task<void> Replay::take(JournalEntry::Reader entry) {
  switch (entry.which()) {
    case JournalEntry::BEGINS:
      // What came before may lack its end.
      state = State();
      state.images = this;
      holders.clear();
      scheduling.forget();
      pending.clear();
      complete = false;
      revision = entry.getBegins();
      break;
    case JournalEntry::COMPLETE:
      applyAll(std::exchange(pending, {}));
      complete = true;
      break;
    case JournalEntry::CHANGE: {
      auto change = entry.getChange();
      KJ_IF_MAYBE (record, recordNamed(change.getKind())) {
        pending.emplace_back(Key{record->kind, text(change.getId())},
                             changeOf(record->kind, change));
      }
      break;
    }
    case JournalEntry::SIGHTING: {
      auto sighting = entry.getSighting();
      auto presence = static_cast<Presence>(sighting.getPresence());
      state.setPresence(text(sighting.getNode()), {presence, 0, text(sighting.getReason())});
      break;
    }
    case JournalEntry::IMAGES: {
      auto images = entry.getImages();
      auto& nodes = holders[text(images.getDigest())];
      for (auto id : images.getMore()) nodes.insert(text(id));
      for (auto id : images.getFewer()) nodes.erase(text(id));
      ++holderChanges;
      break;
    }
    case JournalEntry::ORDER:
      order.clear();
      for (auto id : entry.getOrder()) order.push_back(text(id));
      break;
    case JournalEntry::PASSED:
      co_await pass(entry.getPassed());
      break;
  }
}

const std::set<std::string>& Replay::nodesWith(const std::string& digest) const {
  auto found = holders.find(digest);
  return found == holders.end() ? nobody : found->second;
}

// Of all of them together.
uint64_t Replay::versionOf(const std::string& digest) const {
  return nodesWith(digest).empty() ? 0 : holderChanges;
}

// By this very change it was given a node that somebody chose.
bool Replay::wasPlaced(const Op& op) const {
  auto& [key, change] = op;
  if (key.kind != Kind::TASK || change.words.size() == 0) return false;
  auto task = taskOf(change.words);
  if (task.getSlot() == 0 || task.getNodeId().size() == 0) return false;
  auto before = state.find(Kind::TASK, key.id);
  return before == nullptr || !isAssigned(TaskReader(*before));
}

Task<void> Replay::pass(int64_t atNs) {
  auto ops = std::exchange(pending, {});
  KJ_DEFER(order.clear());
  state.tick(atNs);
  std::vector<Key> placed;
  std::map<std::string, std::string> chosen;
  for (auto& op : ops) {
    if (!complete || atNs < sinceNs || !wasPlaced(op)) continue;
    placed.push_back(op.first);
    chosen[op.first.id] = text(taskOf(op.second.words).getNodeId());
  }
  if (placed.empty()) {
    applyAll(kj::mv(ops));
    co_return;
  }
  // First as it was just before they were placed, then as it really became.
  std::vector<Op> before, after;
  for (auto& [key, change] : ops) {
    if (chosen.count(key.id) == 0 || key.kind != Kind::TASK) {
      before.emplace_back(key, kj::mv(change));
      continue;
    }
    Change waiting;
    waiting.words = unplaced(change.words);
    before.emplace_back(key, kj::mv(waiting));
    after.emplace_back(key, kj::mv(change));
  }
  applyAll(kj::mv(before));
  co_await decideAgain(atNs, placed, chosen);
  applyAll(kj::mv(after));
}

Task<void> Replay::decideAgain(int64_t atNs, const std::vector<Key>& placed,
                               const std::map<std::string, std::string>& chosen) {
  ++decisions;
  lastNs = atNs;
  if (firstNs == 0) firstNs = atNs;
  View view(state, atNs, Seed{1, 2, 3, 4});
  std::set<std::string> touched;
  for (auto& key : placed) {
    touched.insert(text(KJ_ASSERT_NONNULL(view.task(key.id)).getServiceId()));
  }
  auto inOrder = order;
  std::erase_if(inOrder, [&](auto& id) { return touched.erase(id) == 0; });
  inOrder.insert(inOrder.end(), touched.begin(), touched.end());
  for (auto& id : inOrder) {
    bool more = true;
    for (int round = 0; more && round < MOST_ROUNDS; ++round) {
      more = co_await scheduling.place(view, id);
    }
  }
  for (auto& key : placed) compare(view, atNs, key, chosen.at(key.id));
}

void Replay::compare(View& view, int64_t atNs, const Key& key, const std::string& chosen) {
  auto task = KJ_ASSERT_NONNULL(view.task(key.id));
  auto other = text(task.getNodeId());
  auto name = text(task.getServiceName());
  auto& count = services[name];
  ++count.tasks;
  count.same += other == chosen;
  count.nowhere += other.empty();
  count.elsewhere += !other.empty() && other != chosen;
  if (other == chosen || elsewhere.size() == MOST_TOLD) return;
  elsewhere.push_back({atNs, name, task.slot().number, hostOf(chosen), hostOf(other),
                       other.empty() ? text(task.getStatus().getError()) : std::string()});
}

std::string Replay::hostOf(const std::string& nodeId) const {
  auto node = state.find(Kind::NODE, nodeId);
  if (node == nullptr) return nodeId;
  return text(node->as<schema::Node>().getDescription().getHostname());
}

void Replay::applyAll(std::vector<Op> ops) {
  for (auto& [key, change] : ops) {
    bool unknown = state.find(key.kind, key.id) == nullptr;
    // What was deleted before the file began, or of which only the end is there.
    if (unknown && change.words.size() == 0) continue;
    state.apply(key, kj::mv(change), ++revision);
  }
}

void Replay::describe(schema::Replayed::Builder out) const {
  out.setFirstNs(firstNs);
  out.setLastNs(lastNs);
  out.setDecisions(decisions);
  auto counts = out.initServices(services.size());
  uint32_t i = 0;
  for (auto& [name, count] : services) {
    counts[i].setService(name.c_str());
    counts[i].setTasks(count.tasks);
    counts[i].setSame(count.same);
    counts[i].setElsewhere(count.elsewhere);
    counts[i++].setNowhere(count.nowhere);
  }
  auto tasks = out.initTasks(elsewhere.size());
  for (i = 0; i < tasks.size(); ++i) {
    auto& one = elsewhere[i];
    tasks[i].setAtNs(one.atNs);
    tasks[i].setService(one.service.c_str());
    tasks[i].setSlot(one.slot);
    tasks[i].setNode(one.node.c_str());
    tasks[i].setOther(one.other.c_str());
    tasks[i].setReason(one.reason.c_str());
  }
}

}  // namespace orch::control::manager
