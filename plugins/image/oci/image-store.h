// The service of image.oci: pulls, imports, holds, removes. All of it runs on the loop's thread;
// what blocks is on worker threads, what reads strangers' archives in child processes.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "child.h"
#include "hold-table.h"
#include "image-index.h"
#include "job-gate.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/image.capnp.h"
#include "skopeo.h"
#include "store-folder.h"
#include "transfer.h"

namespace orch::image::oci {

struct StoreSettings {
  std::string root;
  std::string unpacker;
  SkopeoSettings skopeo;
  kj::Duration pullTimeout = 0 * kj::SECONDS;
  kj::Duration unpackTimeout = 0 * kj::SECONDS;
  unsigned concurrentTransfers = 1;
  uint64_t maxLayerBytes = 0;
  bool keepBlobs = true;
};

// What whoever asks for an image brings along.
struct Asking {
  Asking() = default;
  Asking(Asking&) = default;  // capabilities are copied so
  Asking(Asking&&) = default;
  kj::Maybe<schema::ImageFinder::Client> elsewhere = nullptr;  // knows hosts that have it
  std::string auth = {};  // of its registry: an authDocument; empty: as the settings say
};

// `env` and `host` outlive it. `recover` first, then it is called through ImageService.
class ImageStore final : private kj::TaskSet::ErrorHandler {
 public:
  ImageStore(Env& env, Host& host, StoreSettings settings);
  ~ImageStore() noexcept(false) { gate.close(); }
  KJ_DISALLOW_COPY(ImageStore);

  Task<void> recover();

  using Record = ImageIndex::Record;
  // The image from here, else from another host or its registry, held for `holder` when the task is
  // done.
  Task<Record> ensure(kj::String reference, kj::String holder,
                      kj::Maybe<schema::Progress::Client> progress, Asking asking);
  Task<Record> pull(kj::String reference, kj::Maybe<schema::Progress::Client> progress,
                    Asking asking);
  // What a reference means now: a digest.
  Task<std::string> resolve(kj::String reference, Asking asking);
  Task<std::vector<Record>> import(kj::String path, kj::String reference,
                                   kj::Maybe<schema::Progress::Client> progress);
  // Of a file on another host, which is called `name` there.
  Task<std::vector<Record>> importFrom(schema::ByteSource::Client source, kj::String name,
                                       kj::String reference,
                                       kj::Maybe<schema::Progress::Client> progress);
  struct Removal {
    std::vector<std::string> removed;  // names and ids
    uint64_t freedBytes = 0;
  };
  Task<Removal> remove(kj::String reference, bool force);
  Task<Removal> prune(bool all);
  // See ImageStore.limit of the schema.
  Task<Removal> limit(uint64_t bytes, std::vector<std::string> needed, kj::Duration unused);
  Task<kj::String> configJson(Record record);
  // A part of a blob of an image that is kept for other hosts, both by their digests.
  Task<KeptPart> readPart(std::string image, std::string blob, uint64_t offset, uint32_t maxBytes);

  HoldTable& holds() { return holdTable; }
  const ImageIndex& images() const { return index; }
  // As callers see it: folders instead of layers' digests. Without who holds it: with a hundred
  // tasks of one image that would be a hundred names for each of them.
  void describe(const ImageRecord& record, schema::ImageInfo::Builder info) const;
  void describeWithHolders(const ImageRecord& record, schema::ImageInfo::Builder info) const;
  // Of an answer that holds nothing but the description, at most. Cap'n Proto begins with 8 KiB
  // otherwise.
  capnp::MessageSize sizeOf(const ImageRecord& record) const;

 private:
  void taskFailed(kj::Exception&& exception) override;
  kj::Promise<void> transferOf(Reference reference, kj::Maybe<schema::Progress::Client> progress,
                               Asking asking);
  Task<void> runPull(ProgressSink& progress, Reference reference, Asking asking);
  struct Obtained {
    std::vector<Record> records;
    std::string from;  // the host that it came from; empty: the registry
  };
  Task<Obtained> obtain(Job& job, ProgressSink& progress, Reference reference, Asking asking);
  // From its registry into the job's folder; the path of the layout. `auth` as in Asking.
  Task<kj::String> download(Job& job, ProgressSink& progress, Reference reference,
                            std::string auth);
  // How skopeo is asked then; the document goes into `file`, which nobody else can read.
  Task<SkopeoSettings> skopeoFor(std::string auth, std::string file);
  // The same from other hosts, one after the other. False if none had all of it: `fetch` says why.
  struct Fetch;
  Task<bool> fetchFromAny(Job& job, Fetch& fetch, schema::ImageFinder::Client elsewhere);
  Task<void> fetchFrom(Job& job, Fetch& fetch, schema::ImageReader::Client source);
  Task<void> fetchManifest(Job& job, Fetch& fetch, schema::ImageReader::Client source);
  Task<void> fetchBlob(Fetch& fetch, schema::ImageReader::Client source, std::string name,
                       kj::Maybe<uint64_t> size);
  // Checks what came. What is damaged is gone then, and counted.
  Task<size_t> dropDamaged(Job& job, Fetch& fetch);
  Task<std::vector<std::string>> askUnpacker(Job& job, kj::String source, kj::StringPtr only);
  // Fails if it takes longer than the setting of that name allows.
  kj::Promise<ChildResult> within(kj::Duration limit, kj::Promise<ChildResult> running,
                                  kj::StringPtr setting);
  // With the digest of the image that suits this node, if the reference means a list of several.
  Task<Reference> chooseManifest(Job& job, const SkopeoSettings& skopeo, Reference reference);
  Task<void> runSkopeo(Job& job, const SkopeoSettings& skopeo, ProgressSink& progress,
                       Reference reference);
  Task<kj::String> askSource(ProcessSpec question);
  kj::Promise<void> keepSource(std::string path, kj::String text);
  Task<void> fetchSourceManifest(Job& job, const SkopeoSettings& skopeo, Reference reference);
  kj::Promise<CommandResult> askSkopeo(ProcessSpec spec);
  ProcessSpec unpackerSpec(Job& job, kj::StringPtr source) const;
  // Runs the unpacker over `source`; the images that it found. `keep`: with their blobs.
  Task<std::vector<Record>> unpack(Job& job, ProgressSink& progress, kj::String source,
                                   kj::String reference, bool keep);
  std::map<std::string, Placeholder> placeholders() const;
  // Copies all of `source` to a file.
  Task<void> receive(schema::ByteSource::Client source, std::string path, ProgressSink& progress,
                     kj::StringPtr name);
  // What an import's source is, once it is on this host, and the end of its job.
  Task<std::vector<Record>> take(kj::Own<Job> job, ProgressSink& progress, std::string path,
                                 std::string reference, kj::StringPtr name);
  Task<kj::Own<Job>> newJob();
  // Puts images into the index and ends the job. Goes on if the caller goes away.
  kj::Promise<void> commit(std::vector<Record> records, bool pulled, kj::Own<Job> job);
  Task<void> doCommit(std::vector<Record> records, bool pulled, kj::Own<Job> job);
  Task<void> replaceIndex(ImageIndex next);
  Task<void> lookAtFolder();
  // Ends a job that failed. What it put into the store goes too.
  Task<void> abandon(Job& job);
  kj::Promise<void> sweep();
  Removal planRemoval(kj::StringPtr reference, bool force, ImageIndex& next) const;
  void refuseHeld(const ImageRecord& record, kj::StringPtr reference) const;
  uint64_t bytesFreed(const ImageIndex& next) const;
  void takeAway(const ImageRecord& record, ImageIndex& next, Removal& removal) const;
  // The removal, if it is one, is on the disk, and those who listen have been told.
  Task<void> carryOut(ImageIndex next, const Removal& removal);
  // Images that nobody has used for so long, the longest unused first.
  std::vector<Record> unusedFor(kj::Duration least, const std::vector<std::string>& needed);
  // Whether other hosts may have it from here: all its blobs are kept.
  bool offered(const ImageRecord& record) const;
  void checkWhole(const ImageRecord& record, kj::StringPtr reference) const;

  Env& env;
  Host& host;
  const StoreSettings settings;
  kj::Maybe<kj::AutoCloseFd> lock;
  ImageIndex index;
  std::set<std::string> damaged;                // ids of images that miss a layer
  std::set<std::string> kept;                   // names of the files in kept/
  std::set<std::string> removing;               // ids that the index on its way to the disk lacks
  std::map<std::string, kj::TimePoint> usedAt;  // ids, as `limit` saw it last
  HoldTable holdTable;
  Semaphore indexWriter;  // one at a time
  JobGate gate;
  kj::TaskSet cleaners;  // before the transfers, which leave their jobs to it
  TransferTable transfers;
};

// The ImageStore of the schema; `store` outlives it.
capnp::Capability::Client newImageService(ImageStore& store);

}  // namespace orch::image::oci
