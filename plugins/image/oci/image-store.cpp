#include "image-store.h"

#include <kj/debug.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::image::oci {

namespace {

// `ensure` takes an id's beginning for an id from docker's short ones on: a name like `cafe` is a
// name.
constexpr size_t SHORT_ID = 12;

std::string firstName(const ImageRecord& record) {
  auto names = record.info().getReferences();
  return names.size() > 0 ? names[0].cStr() : record.id();
}

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (auto& item : list) text += (text.empty() ? "" : ", ") + item;
  return text;
}

}  // namespace

ImageStore::ImageStore(Env& env, Host& host, StoreSettings given)
    : env(env),
      host(host),
      settings(kj::mv(given)),
      holdTable(env.workers(), settings.root + "/holds"),
      indexWriter(1),
      gate(settings.concurrentTransfers, [this]() { return sweep(); }),
      cleaners(*this) {}

void ImageStore::taskFailed(kj::Exception&& exception) {
  host.log().warn("image.cleanup-failed", {{"reason", plainText(exception)}});
}

Task<void> ImageStore::recover() {
  auto root = settings.root;
  // Closures are named before they are awaited: g++ 12 frees those that are written in place twice.
  auto takeLock = [root]() { return lockStore(root); };
  auto locked = co_await env.workers().run(kj::mv(takeLock));
  lock = kj::mv(locked);
  auto open = [root]() { return openStore(root); };
  auto state = co_await env.workers().run(kj::mv(open));
  index = kj::mv(state.index);
  kept = kj::mv(state.keptBlobs);
  holdTable.take(state.holds);
  for (auto& reason : state.kept) {
    host.log().warn("image.cleanup-failed", {{"reason", reason.c_str()}});
  }
  for (auto& id : state.damaged) {
    damaged.insert(id);
    host.log().warn("image.damaged", {{"image", firstName(*index.byId(id)).c_str()}});
  }
}

void ImageStore::describe(const ImageRecord& record, schema::ImageInfo::Builder info) const {
  auto from = record.info();
  info.setId(from.getId());
  info.setDigest(from.getDigest());
  info.setReferences(from.getReferences());
  info.setCreatedAtNs(from.getCreatedAtNs());
  info.setSizeBytes(from.getSizeBytes());
  info.setConfig(from.getConfig());
  info.setOs(from.getOs());
  info.setArchitecture(from.getArchitecture());
  info.setVariant(from.getVariant());
  info.setPulled(from.getPulled());
  if (offered(record)) info.setKeptBytes(from.getKeptBytes());
  auto entries = record.layers();
  auto layers = info.initLayers(entries.size());
  for (uint32_t i = 0; i < entries.size(); ++i) {
    layers.set(i, settings.root + "/layers/" + entries[i].folder());
  }
}

capnp::MessageSize ImageStore::sizeOf(const ImageRecord& record) const {
  constexpr size_t BESIDE = 16;  // the results' own struct and what is rounded up
  size_t pathWords = (settings.root.size() + LAYER_NAME) / sizeof(capnp::word) + 3;
  size_t words = record.message().size() + record.info().getLayers().size() * pathWords + BESIDE;
  return {words, 0};
}

void ImageStore::describeWithHolders(const ImageRecord& record,
                                     schema::ImageInfo::Builder info) const {
  describe(record, info);
  auto who = holdTable.holders(record.id());
  auto holders = info.initHolders(who.size());
  for (uint32_t i = 0; i < who.size(); ++i) holders.set(i, who[i]);
}

bool ImageStore::offered(const ImageRecord& record) const {
  if (record.info().getKeptBytes() == 0) return false;
  auto layers = record.layers();
  return std::all_of(layers.begin(), layers.end(),
                     [&](auto& layer) { return layer.blob.empty() || kept.count(layer.blob) > 0; });
}

void ImageStore::checkWhole(const ImageRecord& record, kj::StringPtr reference) const {
  if (damaged.count(record.id()) == 0) return;
  fail(
      kj::str("image '", reference,
              "' is damaged: the folder of one of its layers is missing; pull or import it again"));
}

Task<ImageStore::Record> ImageStore::ensure(kj::String reference, kj::String holder,
                                            kj::Maybe<schema::Progress::Client> progress,
                                            Asking asking) {
  HoldTable::checkHolder(holder);
  std::string who = holder.cStr();
  // Twice: an image may be removed between its arrival and its hold.
  constexpr int TRIES = 2;
  for (int tries = 0;; ++tries) {
    auto record = index.find(reference, SHORT_ID);
    if (record && removing.count(record->id()) > 0) {
      { auto written = co_await indexWriter.enter(); }
      record = index.find(reference, SHORT_ID);
    }
    if (record) {
      checkWhole(*record, reference);
      co_await holdTable.add(who, record->id());
      co_return record;
    }
    if (tries == TRIES) fail(kj::str("image '", reference, "' is removed as fast as it comes"));
    if (reference.startsWith("sha256:")) index.require(reference);  // an id has no registry
    auto wanted = parseReference(reference);
    co_await transferOf(kj::mv(wanted), progress, asking);
  }
}

Task<kj::Own<Job>> ImageStore::newJob() {
  auto pass = co_await gate.enter();
  auto folder = settings.root + "/tmp/" + env.newId().cStr();
  auto job = kj::heap<Job>(env, cleaners, kj::mv(folder), kj::mv(pass));
  co_await job->prepare();
  co_return kj::mv(job);
}

kj::Promise<ChildResult> ImageStore::within(kj::Duration limit, kj::Promise<ChildResult> running,
                                            kj::StringPtr setting) {
  auto late = [seconds = limit / kj::SECONDS, setting]() -> ChildResult {
    fail(kj::str("it is not done after ", seconds, " s, the setting ", setting));
  };
  return running.exclusiveJoin(env.timer().afterDelay(limit).then(kj::mv(late)));
}

ProcessSpec ImageStore::unpackerSpec(Job& job, kj::StringPtr source) const {
  ProcessSpec spec;
  auto add = [&](kj::StringPtr name, auto&& value) {
    spec.argv.add(kj::str(name));
    spec.argv.add(kj::str(value));
  };
  spec.argv.add(kj::str(settings.unpacker.c_str()));
  add("--root"_kj, settings.root.c_str());
  add("--job"_kj, job.folder().c_str());
  add("--source"_kj, source);
  add("--architecture"_kj, settings.skopeo.architecture.c_str());
  add("--max-layer-bytes"_kj, settings.maxLayerBytes);
  KJ_IF_MAYBE (held, lock) spec.fds.add(ProcessSpec::Fd{3, *held});
  return spec;
}

Task<std::vector<ImageStore::Record>> ImageStore::unpack(Job& job, ProgressSink& progress,
                                                         kj::String source, kj::String reference,
                                                         bool keep) {
  auto spec = unpackerSpec(job, source);
  spec.argv.add(kj::str("--reference"));
  spec.argv.add(kj::mv(reference));
  if (keep) {
    for (auto* word : {"--keep", "yes"}) spec.argv.add(kj::str(word));
  }
  kj::Function<void(kj::StringPtr)> onLine = [&progress](kj::StringPtr line) {
    char* rest = nullptr;
    uint64_t done = strtoull(line.cStr(), &rest, 10);
    uint64_t total = strtoull(rest, &rest, 10);
    progress.report(*rest == ' ' ? rest + 1 : rest, done, total);
  };
  auto running = job.run(kj::mv(spec), kj::mv(onLine)).promise();
  auto inTime = within(settings.unpackTimeout, kj::mv(running), "unpackTimeoutSeconds");
  auto result = co_await inTime;
  if (result.status == 1) fail(kj::str(lastLine(result.errors).c_str()));
  if (result.status != 0) {
    fail(kj::str("the unpacker ended with status ", result.status, " (",
                 lastLine(result.errors).c_str(), ")"));
  }
  auto path = job.folder() + "/images";
  auto read = [path]() {
    return KJ_REQUIRE_NONNULL(readChecked(path, "unpacker's result", "try again"), path.c_str());
  };
  auto bytes = co_await env.workers().run(kj::mv(read));
  co_return decodeRecords(bytes);
}

kj::Promise<void> ImageStore::commit(std::vector<Record> records, bool pulled, kj::Own<Job> job) {
  auto done = doCommit(kj::mv(records), pulled, kj::mv(job)).promise().fork();
  cleaners.add(done.addBranch().catch_([](kj::Exception&&) {}));  // the caller is told
  return done.addBranch();
}

Task<void> ImageStore::doCommit(std::vector<Record> records, bool pulled, kj::Own<Job> job) {
  auto writer = co_await indexWriter.enter();
  ImageIndex next = index;
  for (auto& record : records) next.put(record->info(), pulled);
  auto outcome = co_await attempt(replaceIndex(kj::mv(next)));
  if (!outcome.ok()) {
    writer.release();
    co_await abandon(*job);
    kj::throwFatalException(kj::mv(outcome.error()));
  }
  co_await lookAtFolder();
  writer.release();
  co_await job->finish();
}

// A layer that came again also repairs the other images that have it.
Task<void> ImageStore::lookAtFolder() {
  auto list = [root = settings.root]() { return listKept(root); };
  kept = co_await env.workers().run(kj::mv(list));
  if (damaged.empty()) co_return;
  auto look = [root = settings.root, index = index]() { return damagedImages(root, index); };
  auto found = co_await env.workers().run(kj::mv(look));
  damaged = std::set<std::string>(found.begin(), found.end());
}

Task<void> ImageStore::abandon(Job& job) {
  co_await job.finish();
  // Layers and blobs that it had moved into the store already, and that no image names.
  co_await gate.sweepWhenIdle();
}

// The caller has the writer's permit, and does not go away before the end.
Task<void> ImageStore::replaceIndex(ImageIndex next) {
  for (auto& [id, record] : index.all()) {
    if (!next.byId(id)) removing.insert(id);
  }
  KJ_DEFER(removing.clear());
  auto write = [path = settings.root + "/index", bytes = next.encode()]() {
    writeChecked(path, bytes);
  };
  co_await env.workers().run(kj::mv(write));
  index = kj::mv(next);
}

kj::Promise<void> ImageStore::sweep() {
  std::set<std::string> known;
  for (auto& [id, record] : index.all()) known.insert(id);
  if (holdTable.holdsUnknown(known)) return kj::READY_NOW;
  return env.workers()
      .run([root = settings.root, index = index]() {
        sweepStore(root, index);
        return listKept(root);
      })
      .then([this](std::set<std::string> left) { kept = kj::mv(left); })
      .catch_([this](kj::Exception&& exception) { taskFailed(kj::mv(exception)); });
}

Task<kj::String> ImageStore::configJson(Record record) {
  auto name = firstName(*record);
  auto work = [root = settings.root, id = record->id(), name]() {
    return readBlob(root, id, name.c_str());
  };
  co_return co_await env.workers().run(kj::mv(work));
}

void ImageStore::refuseHeld(const ImageRecord& record, kj::StringPtr reference) const {
  auto who = holdTable.holders(record.id());
  if (who.empty()) return;
  fail(kj::str("cannot remove image '", reference, "': it is held by ", joined(who).c_str(),
               "; remove what runs it first"));
}

// Takes one name away, and the image with its last name or if an id was given.
ImageStore::Removal ImageStore::planRemoval(kj::StringPtr reference, bool force,
                                            ImageIndex& next) const {
  Removal removal;
  auto record = index.require(reference);
  auto names = record->info().getReferences();
  std::string familiar;
  if (!reference.startsWith("sha256:")) familiar = parseReference(reference).familiar();
  auto named = index.byName(familiar);
  bool byName = named && named->id() == record->id();
  if (byName && names.size() > 1) {
    next.removeName(familiar);
    removal.removed.push_back(familiar);
    return removal;
  }
  refuseHeld(*record, reference);
  if (!byName && names.size() > 1 && !force) {
    std::vector<std::string> list;
    for (auto name : names) list.push_back(name.cStr());
    fail(kj::str("cannot remove image '", reference, "': it has several names (",
                 joined(list).c_str(), "); remove them one by one, or use --force"));
  }
  for (auto name : names) removal.removed.push_back(name.cStr());
  removal.removed.push_back(record->id());
  next.removeImage(record->id());
  return removal;
}

uint64_t ImageStore::bytesFreed(const ImageIndex& next) const {
  auto counted = next.layerFolders();
  uint64_t bytes = 0;
  for (auto& [id, record] : index.all()) {
    for (auto& layer : record->layers()) {
      if (counted.insert(layer.folder()).second) bytes += layer.unpackedBytes;
    }
  }
  auto needed = next.keptBlobs();
  for (auto& [name, size] : index.keptBlobs()) {
    if (needed.count(name) == 0 && kept.count(name) > 0) bytes += size;
  }
  return bytes;
}

Task<ImageStore::Removal> ImageStore::remove(kj::String reference, bool force) {
  auto writer = co_await indexWriter.enter();
  ImageIndex next = index;
  auto removal = planRemoval(reference, force, next);
  removal.freedBytes = bytesFreed(next);
  co_await replaceIndex(kj::mv(next));
  writer.release();
  host.publish("image.removed", removal.removed.back().c_str(),
               {{"names", joined(removal.removed).c_str()}});
  co_await gate.sweepWhenIdle();
  co_return kj::mv(removal);
}

void ImageStore::takeAway(const ImageRecord& record, ImageIndex& next, Removal& removal) const {
  for (auto name : record.info().getReferences()) removal.removed.push_back(name.cStr());
  removal.removed.push_back(record.id());
  next.removeImage(record.id());
}

Task<void> ImageStore::carryOut(ImageIndex next, const Removal& removal) {
  if (removal.removed.empty()) co_return;
  co_await replaceIndex(kj::mv(next));
  for (auto& name : removal.removed) {
    if (isDigest(name)) host.publish("image.removed", name.c_str(), {{"names", ""}});
  }
}

Task<ImageStore::Removal> ImageStore::prune(bool all) {
  auto writer = co_await indexWriter.enter();
  Removal removal;
  ImageIndex next = index;
  for (auto& [id, record] : index.all()) {
    bool named = record->info().getReferences().size() > 0;
    if (holdTable.holders(id).empty() && (all || !named)) takeAway(*record, next, removal);
  }
  removal.freedBytes = bytesFreed(next);
  co_await carryOut(kj::mv(next), removal);
  writer.release();
  // Also what a failed transfer left and nobody counted.
  co_await gate.sweepWhenIdle();
  co_return kj::mv(removal);
}

std::vector<ImageStore::Record> ImageStore::unusedFor(kj::Duration least,
                                                      const std::vector<std::string>& needed) {
  auto now = env.timer().now();
  std::set<std::string> used;
  for (auto& reference : needed) {
    if (auto record = index.find(reference.c_str(), SHORT_ID)) used.insert(record->id());
  }
  std::erase_if(usedAt, [this](auto& entry) { return !index.byId(entry.first); });
  std::vector<Record> unused;
  for (auto& [id, record] : index.all()) {
    auto [at, fresh] = usedAt.try_emplace(id, now);
    if (used.count(id) > 0 || !holdTable.holders(id).empty()) {
      at->second = now;
    } else if (now - at->second >= least) {
      unused.push_back(record);
    }
  }
  auto since = [this](const Record& record) {
    return std::make_pair(usedAt.at(record->id()), record->info().getCreatedAtNs());
  };
  std::sort(unused.begin(), unused.end(),
            [&](auto& one, auto& other) { return since(one) < since(other); });
  return unused;
}

Task<ImageStore::Removal> ImageStore::limit(uint64_t bytes, std::vector<std::string> needed,
                                            kj::Duration unused) {
  auto writer = co_await indexWriter.enter();
  Removal removal;
  ImageIndex next = index;
  auto all = bytesFreed(ImageIndex());
  for (auto& record : unusedFor(unused, needed)) {
    if (all - removal.freedBytes <= bytes) break;
    takeAway(*record, next, removal);
    removal.freedBytes = bytesFreed(next);
  }
  co_await carryOut(kj::mv(next), removal);
  writer.release();
  if (removal.removed.empty()) co_return kj::mv(removal);
  host.log().info(
      "images removed to keep the limit",
      {{"freedBytes", removal.freedBytes}, {"images", joined(removal.removed).c_str()}});
  co_await gate.sweepWhenIdle();
  co_return kj::mv(removal);
}

}  // namespace orch::image::oci
