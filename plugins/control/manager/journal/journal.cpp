#include "journal/journal.h"

#include <capnp/serialize.h>

#include <algorithm>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/segments/segments.h"

namespace orch::control::manager {

namespace {
constexpr size_t FRAME_BYTES = 64 << 10;
constexpr size_t MAX_WAITING_BYTES = 64 << 20;
constexpr size_t OBJECTS_AT_ONCE = 200;
// What was decided meanwhile is written together: nobody waits for it.
constexpr kj::Duration GATHER = 1 * kj::SECONDS;
constexpr kj::Duration PAUSE = 10 * kj::SECONDS;  // after a write that failed
constexpr kj::WriteMode MADE =
    kj::WriteMode::CREATE | kj::WriteMode::MODIFY | kj::WriteMode::PRIVATE;
// Those that decisions are made from, in the order in which they are written down.
constexpr Kind RECORDED[] = {Kind::CLUSTER, Kind::NODE, Kind::NETWORK, Kind::SERVICE, Kind::TASK};

bool isRecorded(Kind kind) {
  return std::find(std::begin(RECORDED), std::end(RECORDED), kind) != std::end(RECORDED);
}

// As the store has it, but for secrets.
Words wholeOf(Kind kind, const Snapshot& object) {
  capnp::MallocMessageBuilder message;
  if (kind == Kind::TASK) {
    TaskReader task(object);
    message.setRoot(task.record());
    task.fillShared(message.getRoot<schema::Task>());
    return toWords(message.getRoot<schema::Task>().asReader());
  }
  if (kind == Kind::SERVICE) {
    message.setRoot(object.as<schema::Service>());
    auto service = message.getRoot<schema::Service>();
    service.disownSealedLogin();
    return toWords(service.asReader());
  }
  if (kind == Kind::CLUSTER) {
    message.setRoot(object.as<schema::Cluster>());
    auto cluster = message.getRoot<schema::Cluster>();
    cluster.disownWorkerSalt();
    cluster.disownManagerSalt();
    cluster.disownSealedLockKey();
    for (auto former : cluster.getFormerAuthorities()) former.disownSealedNext();
    return toWords(cluster.asReader());
  }
  auto copy = kj::heapArray<capnp::word>(sizeOf(object.words));
  memcpy(copy.begin(), object.words, copy.asBytes().size());
  return copy;
}

kj::ArrayPtr<const kj::byte> bytesOf(const capnp::word* words) {
  return kj::arrayPtr(words, sizeOf(words)).asBytes();
}

// Files beyond the limit go, the oldest first.
void trim(const kj::Directory& directory, uint64_t maxBytes) {
  auto numbers = segments::segmentNumbers(directory);
  uint64_t sum = 0;
  for (auto number = numbers.rbegin(); number != numbers.rend(); ++number) {
    auto name = segments::segmentName(*number);
    KJ_IF_MAYBE (found, directory.tryLstat(name)) sum += found->size;
    if (sum > maxBytes && number != numbers.rbegin()) directory.tryRemove(name);
  }
}
}  // namespace

Journal::Journal(Env& env, Host& host, Manager& manager, Config::Reader settings)
    : env(env),
      host(host),
      manager(manager),
      maxBytes(settings.getJournalBytes()),
      path(kj::Path(nullptr).eval(
          kj::str(host.node().dataDir, "/", host.node().instance, "/journal"))),
      copying(kj::READY_NOW),
      tasks(*this) {
  if (maxBytes > 0) manager.observe(*this);
}

void Journal::add(JournalEntry::Reader entry) {
  if (lost) return;
  capnp::MallocMessageBuilder message;
  message.setRoot(entry);
  auto words = capnp::messageToFlatArray(message);
  if (words.asBytes().size() > segments::MAX_MESSAGE_BYTES) return;
  segments::addMessage(frame, words);
  if (frame.size() >= FRAME_BYTES) closeFrame();
}

void Journal::closeFrame() {
  if (frame.size() == 0) return;
  waitingBytes += frame.size();
  waiting.push_back({frame.releaseAsArray(), std::exchange(beginsFile, false)});
  wake();
  if (waitingBytes <= MAX_WAITING_BYTES) return;
  lost = true;
  waiting.clear();
  waitingBytes = 0;
}

void Journal::addObject(const Key& key, const Snapshot& object, bool words, bool status) {
  capnp::MallocMessageBuilder message;
  auto change = message.initRoot<JournalEntry>().initChange();
  change.setKind(traitsOf(key.kind).name);
  change.setId(key.id.c_str());
  Words whole;
  if (words) change.setObject((whole = wholeOf(key.kind, object)).asBytes());
  if (status) change.setStatus(bytesOf(object.status));
  add(message.getRoot<JournalEntry>().asReader());
}

void Journal::addSighting(const std::string& nodeId) {
  auto& known = manager.state().sightingOf(nodeId);
  capnp::MallocMessageBuilder message;
  auto sighting = message.initRoot<JournalEntry>().initSighting();
  sighting.setNode(nodeId.c_str());
  sighting.setPresence(static_cast<uint8_t>(known.presence));
  sighting.setReason(known.reason.c_str());
  add(message.getRoot<JournalEntry>().asReader());
}

void Journal::changing(const Key& key, const Snapshot& before, const Snapshot& after) {
  if (!isRecorded(key.kind)) return;
  decided = true;
  bool words = after && after.words != before.words;
  bool status = after.status != nullptr && after.status != before.status;
  if (key.kind == Kind::TASK && after) {
    TaskReader task(after);
    bool placed = isAssigned(task) && !(before && isAssigned(TaskReader(before)));
    auto digest = text(task.getSpec().getContainer().getImageDigest());
    if (placed && !digest.empty()) images.insert(std::move(digest));
  }
  addObject(key, after, words, status);
}

void Journal::addImages() {
  auto source = manager.state().images;
  for (auto& digest : std::exchange(images, {})) {
    if (source == nullptr) continue;
    auto& now = source->nodesWith(digest);
    auto& then = holders[digest];
    std::vector<std::string> more, fewer;
    std::set_difference(now.begin(), now.end(), then.begin(), then.end(), std::back_inserter(more));
    std::set_difference(then.begin(), then.end(), now.begin(), now.end(),
                        std::back_inserter(fewer));
    then = now;
    if (more.empty() && fewer.empty()) continue;
    capnp::MallocMessageBuilder message;
    auto entry = message.initRoot<JournalEntry>().initImages();
    entry.setDigest(digest.c_str());
    auto fill = [](auto list, const std::vector<std::string>& ids) {
      for (uint32_t i = 0; i < list.size(); ++i) list.set(i, ids[i].c_str());
    };
    fill(entry.initMore(more.size()), more);
    fill(entry.initFewer(fewer.size()), fewer);
    add(message.getRoot<JournalEntry>().asReader());
  }
}

void Journal::sighted(const std::string& nodeId) {
  addSighting(nodeId);
  kick();
}

void Journal::passed(int64_t atNs, const std::vector<std::string>& placed) {
  if (!std::exchange(decided, false)) return;
  addImages();
  if (placed.size() > 1) {
    capnp::MallocMessageBuilder message;
    auto order = message.initRoot<JournalEntry>().initOrder(placed.size());
    for (uint32_t i = 0; i < order.size(); ++i) order.set(i, placed[i].c_str());
    add(message.getRoot<JournalEntry>().asReader());
  }
  capnp::MallocMessageBuilder message;
  message.initRoot<JournalEntry>().setPassed(atNs);
  add(message.getRoot<JournalEntry>().asReader());
  if (lost && !serving) begin();
  kick();
}

void Journal::reloaded() { begin(); }

void Journal::begin() {
  closeFrame();
  lost = false;
  beginsFile = true;
  holders.clear();
  capnp::MallocMessageBuilder message;
  message.initRoot<JournalEntry>().setBegins(manager.state().revision);
  add(message.getRoot<JournalEntry>().asReader());
  beginning = true;
  copying = addAll().promise().eagerlyEvaluate([this](auto&& e) { taskFailed(kj::mv(e)); });
}

Task<void> Journal::addAll() {
  auto& state = manager.state();
  for (auto& node : state.all(Kind::NODE)) addSighting(node.first);
  for (auto kind : RECORDED) {
    std::string last;
    for (bool more = true; more;) {
      auto& all = state.all(kind);
      auto it = all.upper_bound(last);
      for (size_t i = 0; i < OBJECTS_AT_ONCE && it != all.end(); ++i, ++it) {
        last = it->first;
        addObject(Key{kind, last}, it->second, true, it->second.status.size() > 0);
      }
      more = it != all.end();
      kick();
      if (more) co_await env.timer().afterDelay(0 * kj::NANOSECONDS);
    }
  }
  capnp::MallocMessageBuilder message;
  message.initRoot<JournalEntry>().setComplete();
  add(message.getRoot<JournalEntry>().asReader());
  beginning = false;
  kick();
}

void Journal::kick() {
  if (serving) return;
  serving = true;
  tasks.add(serve());
}

void Journal::wake() {
  if (gathering.get() != nullptr) gathering->fulfill();
}

kj::Promise<void> Journal::flush() {
  if (!serving) return kj::READY_NOW;
  hurried = true;
  wake();
  auto pair = kj::newPromiseAndFulfiller<void>();
  idle.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

// One frame after the other; what comes meanwhile goes together in the next.
Task<void> Journal::serve() {
  for (;;) {
    if (waiting.empty() && frame.size() > 0 && !hurried) {
      auto pair = kj::newPromiseAndFulfiller<void>();
      gathering = kj::mv(pair.fulfiller);
      auto enough = env.timer().afterDelay(GATHER).exclusiveJoin(kj::mv(pair.promise));
      co_await enough;
    }
    if (waiting.empty()) closeFrame();
    if (waiting.empty()) break;
    auto next = kj::mv(waiting.front());
    waiting.pop_front();
    waitingBytes -= next.content.size();
    auto outcome = co_await attempt(write(kj::mv(next.content), next.first));
    if (!outcome.ok()) {
      host.log().warn("manager.journal-failed, going on without it for a while",
                      {{"reason", outcome.message()}});
      lost = true;
      waiting.clear();
      waitingBytes = 0;
      co_await env.timer().afterDelay(PAUSE);
      break;
    }
    if (!beginning && written > SEGMENT_BYTES) begin();
  }
  serving = false;
  hurried = false;
  for (auto& one : std::exchange(idle, {})) one->fulfill();
}

Task<void> Journal::write(kj::Array<kj::byte> content, bool first) {
  auto work = [&files = env.files(), path = path.clone(), content = kj::mv(content), first,
               maxBytes = maxBytes]() -> uint64_t {
    auto directory = files.getRoot().openSubdir(path, MADE | kj::WriteMode::CREATE_PARENT);
    auto numbers = segments::segmentNumbers(*directory);
    uint64_t newest = numbers.empty() ? 1 : numbers.back() + (first ? 1 : 0);
    auto file = directory->openFile(segments::segmentName(newest), MADE);
    auto size = file->stat().size;
    auto packed = segments::packFrame(content);
    file->write(size, packed);
    if (first) trim(*directory, maxBytes);
    return size + packed.size();
  };
  written = co_await env.workers().run(kj::mv(work));
}

void Journal::taskFailed(kj::Exception&& exception) {
  host.log().error("manager.journal-failed", {{"reason", plainText(exception)}});
}

}  // namespace orch::control::manager
