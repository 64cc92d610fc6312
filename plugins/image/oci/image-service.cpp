// The RPC side of ImageStore: arguments in, results out.
#include <kj/debug.h>

#include "image-store.h"

namespace orch::image::oci {

namespace {

template <typename Params>
kj::Maybe<schema::Progress::Client> progressOf(Params params) {
  if (!params.hasProgress()) return nullptr;
  return params.getProgress();
}

// With the login only if it is for the registry that is asked.
template <typename Params>
Asking askingOf(Params params) {
  Asking asking;
  auto login = params.getLogin();
  if (login.getUser().size() == 0) return asking;
  auto registry = parseReference(params.getReference()).registry;
  if (login.getRegistry() == registry.c_str()) asking.auth = authDocument(login).cStr();
  return asking;
}

template <typename List>
void fill(List list, const std::vector<std::string>& values) {
  for (uint32_t i = 0; i < values.size(); ++i) list.set(i, values[i]);
}

class ImageService final : public schema::ImageStore::Server {
 public:
  explicit ImageService(ImageStore& store) : store(store) {}

  // A caller that goes away gives up its part in a transfer.
  kj::Promise<void> ensure(EnsureContext context) override {
    context.allowCancellation();
    return doEnsure(context);
  }
  kj::Promise<void> pull(PullContext context) override {
    context.allowCancellation();
    return doPull(context);
  }
  kj::Promise<void> import(ImportContext context) override {
    context.allowCancellation();
    return doImport(context);
  }
  kj::Promise<void> importFrom(ImportFromContext context) override {
    context.allowCancellation();
    return doImportFrom(context);
  }
  kj::Promise<void> release(ReleaseContext context) override {
    return store.holds().release(context.getParams().getHolder().cStr());
  }
  kj::Promise<void> retainHolders(RetainHoldersContext context) override {
    std::set<std::string> keep;
    for (auto holder : context.getParams().getHolders()) keep.insert(holder.cStr());
    return store.holds().retain(keep);
  }
  kj::Promise<void> list(ListContext context) override {
    auto& images = store.images().all();
    auto list = context.getResults().initImages(images.size());
    uint32_t i = 0;
    for (auto& [id, record] : images) store.describeWithHolders(*record, list[i++]);
    return kj::READY_NOW;
  }
  kj::Promise<void> inspect(InspectContext context) override { return doInspect(context); }
  kj::Promise<void> remove(RemoveContext context) override { return doRemove(context); }
  kj::Promise<void> prune(PruneContext context) override { return doPrune(context); }
  kj::Promise<void> limit(LimitContext context) override { return doLimit(context); }
  kj::Promise<void> resolve(ResolveContext context) override {
    context.allowCancellation();
    return doResolve(context);
  }
  kj::Promise<void> readBlob(ReadBlobContext context) override { return doReadBlob(context); }

 private:
  Task<void> doEnsure(EnsureContext context) {
    auto params = context.getParams();
    auto reference = kj::str(params.getReference()), holder = kj::str(params.getHolder());
    auto progress = progressOf(params);
    auto asking = askingOf(params);
    if (params.hasElsewhere()) asking.elsewhere = params.getElsewhere();
    // Many tasks of a service wait here at once: each keeps no more than it needs.
    context.releaseParams();
    auto record =
        co_await store.ensure(kj::mv(reference), kj::mv(holder), kj::mv(progress), kj::mv(asking));
    store.describe(*record, context.getResults(store.sizeOf(*record)).initImage());
  }
  Task<void> doPull(PullContext context) {
    auto params = context.getParams();
    auto record =
        co_await store.pull(kj::str(params.getReference()), progressOf(params), askingOf(params));
    store.describeWithHolders(*record, context.getResults().initImage());
  }
  Task<void> doImport(ImportContext context) {
    auto params = context.getParams();
    auto records = co_await store.import(kj::str(params.getPath()), kj::str(params.getReference()),
                                         progressOf(params));
    fillImages(records, context.getResults());
  }
  Task<void> doImportFrom(ImportFromContext context) {
    auto params = context.getParams();
    auto records = co_await store.importFrom(params.getSource(), kj::str(params.getName()),
                                             kj::str(params.getReference()), progressOf(params));
    fillImages(records, context.getResults());
  }
  template <typename Results>
  void fillImages(const std::vector<ImageStore::Record>& records, Results results) {
    auto images = results.initImages(records.size());
    for (uint32_t i = 0; i < records.size(); ++i) {
      store.describeWithHolders(*records[i], images[i]);
    }
  }
  Task<void> doInspect(InspectContext context) {
    auto record = store.images().require(context.getParams().getReference());
    auto json = co_await store.configJson(record);
    auto results = context.getResults();
    store.describeWithHolders(*record, results.initImage());
    results.setConfigJson(json);
  }
  Task<void> doRemove(RemoveContext context) {
    auto params = context.getParams();
    auto removal = co_await store.remove(kj::str(params.getReference()), params.getForce());
    fill(context.getResults().initRemoved(removal.removed.size()), removal.removed);
  }
  Task<void> doPrune(PruneContext context) {
    auto removal = co_await store.prune(context.getParams().getAll());
    fillRemoval(removal, context.getResults());
  }
  Task<void> doLimit(LimitContext context) {
    auto params = context.getParams();
    std::vector<std::string> needed;
    for (auto reference : params.getNeeded()) needed.push_back(reference.cStr());
    auto removal = co_await store.limit(params.getBytes(), std::move(needed),
                                        params.getUnusedMs() * kj::MILLISECONDS);
    fillRemoval(removal, context.getResults());
  }
  template <typename Results>
  static void fillRemoval(const ImageStore::Removal& removal, Results results) {
    fill(results.initRemoved(removal.removed.size()), removal.removed);
    results.setFreedBytes(removal.freedBytes);
  }

  Task<void> doReadBlob(ReadBlobContext context) {
    auto params = context.getParams();
    auto part = co_await store.readPart(params.getImage().cStr(), params.getBlob().cStr(),
                                        params.getOffset(), params.getMaxBytes());
    constexpr size_t BESIDE = 8;  // the results' own struct and what is rounded up
    auto results =
        context.getResults(capnp::MessageSize{part.bytes.size() / sizeof(capnp::word) + BESIDE, 0});
    results.setData(part.bytes);
    results.setTotalBytes(part.totalBytes);
  }
  Task<void> doResolve(ResolveContext context) {
    auto params = context.getParams();
    auto digest = co_await store.resolve(kj::str(params.getReference()), askingOf(params));
    context.getResults().setDigest(digest.c_str());
  }

  ImageStore& store;
};

}  // namespace

capnp::Capability::Client newImageService(ImageStore& store) {
  return kj::heap<ImageService>(store);
}

}  // namespace orch::image::oci
