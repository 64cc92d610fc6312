// The part of ImageStore that takes in what a user has as a file or folder.
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>

#include "image-store.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::image::oci {

namespace {

constexpr uint32_t PIECE = 1 << 20;

struct ImportSink final : public ProgressSink {
  explicit ImportSink(kj::Maybe<schema::Progress::Client> client) : waiter(kj::mv(client)) {}
  void report(kj::StringPtr text, uint64_t done, uint64_t total) override {
    waiter.report(text, done, total);
  }
  ProgressWaiter waiter;
};

// The name that the images are to have; empty: those in the source.
std::string chosenName(kj::StringPtr reference) {
  if (reference.size() == 0) return {};
  auto wanted = parseReference(reference);
  if (!wanted.digest.empty()) {
    fail(kj::str("cannot import as '", reference, "': a digest is computed, not given"));
  }
  return wanted.familiar();
}

}  // namespace

Task<std::vector<ImageStore::Record>> ImageStore::import(
    kj::String path, kj::String reference, kj::Maybe<schema::Progress::Client> progress) {
  if (!path.startsWith("/")) {
    fail(kj::str("cannot import '", path, "': give the absolute path of a file or folder"));
  }
  auto chosen = chosenName(reference);
  ImportSink sink(kj::mv(progress));
  sink.report(kj::str("importing ", path), 0, 0);
  auto job = co_await newJob();
  co_return co_await take(kj::mv(job), sink, path.cStr(), kj::mv(chosen), path);
}

Task<std::vector<ImageStore::Record>> ImageStore::importFrom(
    schema::ByteSource::Client source, kj::String name, kj::String reference,
    kj::Maybe<schema::Progress::Client> progress) {
  auto chosen = chosenName(reference);
  ImportSink sink(kj::mv(progress));
  auto job = co_await newJob();
  auto file = job->folder() + "/received";
  auto receiving = receive(kj::mv(source), file, sink, name).promise();
  auto late = [this]() {
    fail(kj::str("it is not all here after ", settings.pullTimeout / kj::SECONDS,
                 " s, the setting pullTimeoutSeconds"));
  };
  auto inTime =
      receiving.exclusiveJoin(env.timer().afterDelay(settings.pullTimeout).then(kj::mv(late)));
  auto received = co_await attempt(kj::mv(inTime));
  if (!received.ok()) {
    co_await abandon(*job);
    fail(kj::str("cannot import '", name, "': ", received.message()));
  }
  sink.report(kj::str("importing ", name), 0, 0);
  co_return co_await take(kj::mv(job), sink, kj::mv(file), kj::mv(chosen), name);
}

Task<void> ImageStore::receive(schema::ByteSource::Client source, std::string path,
                               ProgressSink& progress, kj::StringPtr name) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) failFile("make", path, errno);
  // Owned by the work on the other thread, too, which goes on when this is cancelled.
  auto out = std::make_shared<kj::FdOutputStream>(kj::AutoCloseFd(fd));
  for (uint64_t done = 0;;) {
    auto request = source.readRequest();
    request.setMost(PIECE);
    auto answer = co_await request.send();
    auto bytes = answer.getBytes();
    if (bytes.size() == 0) co_return;
    if (bytes.size() > PIECE) fail(kj::str("more bytes came than were asked for"));
    auto write = [out, copy = kj::heapArray(bytes)]() { out->write(copy.begin(), copy.size()); };
    co_await env.workers().run(kj::mv(write));
    done += bytes.size();
    progress.report(kj::str("receiving ", name), done, 0);
  }
}

Task<std::vector<ImageStore::Record>> ImageStore::take(kj::Own<Job> job, ProgressSink& progress,
                                                       std::string path, std::string reference,
                                                       kj::StringPtr name) {
  auto outcome = co_await attempt(unpack(*job, progress, kj::str(path.c_str()),
                                         kj::str(reference.c_str()), settings.keepBlobs));
  if (!outcome.ok()) {
    co_await abandon(*job);
    fail(kj::str("cannot import '", name, "': ", outcome.message()));
  }
  auto records = kj::mv(outcome.value());
  co_await commit(records, false, kj::mv(job));
  for (auto& record : records) {
    auto& info = record->info();
    auto names = info.getReferences();
    auto first = names.size() > 0 ? kj::str(names[0]) : kj::str(info.getId());
    host.log().info("image imported", {{"image", first}, {"from", name}});
    host.publish(
        "image.imported", first,
        {{"id", info.getId()}, {"digest", info.getDigest()}, {"bytes", info.getSizeBytes()}});
  }
  co_return kj::mv(records);
}

}  // namespace orch::image::oci
