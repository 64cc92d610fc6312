// The part of ImageStore that gives images to other hosts, and gets them from there.
#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "image-store.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::image::oci {

namespace {

// What comes over one connection has to share it with heartbeats: so little of it is under way that
// these are late by less than half a second on a way of 10 Mbit/s.
constexpr uint32_t PART_BYTES = 64 << 10;
constexpr size_t PARTS_IN_FLIGHT = 4;
constexpr uint64_t MAX_MANIFEST = 4 << 20;  // as MAX_DOCUMENT of the unpacker
constexpr kj::Duration FIND_LIMIT = 10 * kj::SECONDS;
// Longer than a manager waits for a node's answer, since a part also waits for its turn there.
constexpr kj::Duration ANSWER_LIMIT = 30 * kj::SECONDS;
constexpr size_t MAX_COMPLAINTS = 300;  // characters

std::string digitsOf(const std::string& digest) { return digest.substr(SHA256.size()); }

}  // namespace

// ---- to other hosts -----------------------------------------------------------------------------

Task<KeptPart> ImageStore::readPart(std::string image, std::string blob, uint64_t offset,
                                    uint32_t maxBytes) {
  if (!isDigest(image) || !isDigest(blob)) {
    fail(kj::str("usage: an image and a blob of it are named by 'sha256:' and 64 digits each"));
  }
  auto record = index.find(image.c_str());
  if (!record || record->manifest() != image || !offered(*record)) {
    fail(kj::str("this node has no image '", image.c_str(), "' for others"));
  }
  env.failPoint("image.oci", "part-read");
  size_t most = kj::min(maxBytes, PART_BYTES);
  auto name = digitsOf(blob);
  auto root = settings.root;
  if (blob == record->manifest() || blob == record->id()) {
    auto read = [root, blob, offset, most, image]() {
      auto text = readBlob(root, blob, image.c_str());
      KeptPart part;
      part.totalBytes = text.size();
      auto begin = kj::min(offset, part.totalBytes);
      auto end = kj::min(begin + most, part.totalBytes);
      part.bytes = kj::heapArray(text.asBytes().slice(begin, end));
      return part;
    };
    co_return co_await env.workers().run(kj::mv(read));
  }
  auto layers = record->layers();
  bool has = std::any_of(layers.begin(), layers.end(), [&](auto& l) { return l.blob == name; });
  if (!has) fail(kj::str("image '", image.c_str(), "' has no blob '", blob.c_str(), "'"));
  auto read = [root, name, offset, most]() { return readKept(root, name, offset, most); };
  co_return co_await env.workers().run(kj::mv(read));
}

// ---- from other hosts ---------------------------------------------------------------------------

// One image on its way here, whichever hosts it comes from.
struct ImageStore::Fetch {
  Fetch(ProgressSink& progress, std::string digest, std::string layout)
      : progress(progress), digest(kj::mv(digest)), layout(kj::mv(layout)) {}
  KJ_DISALLOW_COPY(Fetch);

  std::string folder() const { return layout + "/blobs/sha256/"; }
  // Why no host had it, to go on with after the registry's reason.
  kj::String complaint() const {
    if (digest.empty()) {
      return kj::str(
          "; no node had imported it when the service was made: 'orch image import' it on one, "
          "then update the service with --image");
    }
    if (complaints.empty()) {
      return kj::str(
          "; no other node has it: import it on one of them with 'orch image import', "
          "or push it to a registry that all of them reach");
    }
    return kj::str("; nor could it be had from another node: ",
                   complaints.substr(0, MAX_COMPLAINTS).c_str());
  }

  struct Part {
    std::string name;  // 64 digits
    uint64_t bytes;
  };
  ProgressSink& progress;
  const std::string digest;     // of the manifest
  const std::string layout;     // the folder for it
  std::vector<Part> parts;      // from the manifest on
  std::set<std::string> there;  // names of those that have come; checked before a source is left
  uint64_t manifestBytes = 0;
  uint64_t doneBytes = 0;
  uint64_t totalBytes = 0;
  kj::TimePoint until = kj::origin<kj::TimePoint>();  // for the source that is asked
  bool cannotWrite = false;
  std::string from;  // the last host
  std::string complaints;
};

Task<ImageStore::Obtained> ImageStore::obtain(Job& job, ProgressSink& progress, Reference reference,
                                              Asking asking) {
  auto name = kj::str(reference.familiar().c_str());
  // Only what was imported is kept anywhere, and no registry needs to have that: so hosts come
  // first.
  Fetch fetch(progress, reference.digest, job.folder() + "/fetched");
  auto elsewhere = kj::mv(asking.elsewhere);
  bool inCluster = elsewhere != nullptr;
  if (reference.digest.empty()) elsewhere = nullptr;
  bool fetched = false;
  KJ_IF_MAYBE (finder, elsewhere) fetched = co_await fetchFromAny(job, fetch, *finder);
  auto layout = kj::str(fetch.layout.c_str());
  if (!fetched) {
    auto pulled = co_await attempt(download(job, progress, reference, asking.auth));
    if (pulled.ok()) {
      layout = kj::mv(pulled.value());
    } else {
      // Once more: it may have been imported a moment ago.
      KJ_IF_MAYBE (finder, elsewhere) fetched = co_await fetchFromAny(job, fetch, *finder);
      if (!fetched) {
        fail(kj::str(pulled.message(), inCluster ? fetch.complaint() : kj::String()));
      }
    }
  }
  Obtained obtained;
  if (fetched) obtained.from = fetch.from;
  bool keep = fetched && settings.keepBlobs;
  obtained.records = co_await unpack(job, progress, kj::mv(layout), kj::mv(name), keep);
  co_return kj::mv(obtained);
}

Task<bool> ImageStore::fetchFromAny(Job& job, Fetch& fetch, schema::ImageFinder::Client elsewhere) {
  fetch.complaints.clear();
  auto request = elsewhere.findRequest();
  request.setDigest(fetch.digest.c_str());
  kj::Promise<capnp::Response<schema::ImageFinder::FindResults>> asking = request.send();
  auto inTime = env.timer().timeoutAfter(FIND_LIMIT, kj::mv(asking));
  auto found = co_await attempt(kj::mv(inTime));
  if (!found.ok()) {
    fetch.complaints = std::string("the managers cannot be asked: ") + found.message().cStr();
    co_return false;
  }
  for (auto source : found.value().getSources()) {
    fetch.from = source.getNode().cStr();
    auto outcome = co_await attempt(fetchFrom(job, fetch, source.getImage()));
    if (outcome.ok()) co_return true;
    if (fetch.cannotWrite) kj::throwFatalException(kj::mv(outcome.error()));
    host.log().warn("image.source-left, asking the next", {{"image", fetch.digest.c_str()},
                                                           {"node", fetch.from.c_str()},
                                                           {"reason", outcome.message()}});
    fetch.complaints += (fetch.complaints.empty() ? "" : "; ") + fetch.from + ": ";
    fetch.complaints += outcome.message().cStr();
    // The next one answers for what it sends itself.
    if (!fetch.there.empty()) co_await dropDamaged(job, fetch);
  }
  co_return false;
}

Task<void> ImageStore::fetchFrom(Job& job, Fetch& fetch, schema::ImageReader::Client source) {
  fetch.until = env.timer().now() + settings.pullTimeout;
  if (fetch.parts.empty()) co_await fetchManifest(job, fetch, source);
  for (auto& part : fetch.parts) {
    if (fetch.there.count(part.name) > 0) continue;
    co_await fetchBlob(fetch, source, part.name, part.bytes);
    fetch.there.insert(part.name);
  }
  auto damaged = co_await dropDamaged(job, fetch);
  if (damaged > 0) {
    fail(kj::str("what it sent is damaged: ", damaged, damaged == 1 ? " blob is" : " blobs are",
                 " not what the digest says"));
  }
  auto finish = [layout = fetch.layout, digest = fetch.digest, bytes = fetch.manifestBytes]() {
    auto document = kj::str(R"({"schemaVersion":2,"manifests":[{"mediaType":)"
                            R"("application/vnd.oci.image.manifest.v1+json","digest":")",
                            digest.c_str(), R"(","size":)", bytes, "}]}");
    replaceFile(layout + "/index.json", document.asBytes(), Outlives::PROCESS);
    auto version = R"({"imageLayoutVersion":"1.0.0"})"_kj;
    replaceFile(layout + "/oci-layout", version.asBytes(), Outlives::PROCESS);
  };
  co_await env.workers().run(kj::mv(finish));
}

// And what of it is here already, from other images.
Task<void> ImageStore::fetchManifest(Job& job, Fetch& fetch, schema::ImageReader::Client source) {
  auto begin = [root = settings.root, layout = fetch.layout]() { layOutKept(root, layout, {}); };
  co_await env.workers().run(kj::mv(begin));
  auto name = digitsOf(fetch.digest);
  co_await fetchBlob(fetch, source, name, nullptr);
  // By its name it is checked first.
  auto lines = co_await askUnpacker(job, kj::str((fetch.folder() + name).c_str()), "parts");
  std::vector<Fetch::Part> parts;
  std::vector<std::string> names;
  uint64_t total = 0;
  for (auto& line : lines) {
    auto space = line.find(' ');
    KJ_REQUIRE(space != std::string::npos, "no part of an image", line);
    Fetch::Part part{digitsOf(line.substr(0, space)), strtoull(line.c_str() + space, nullptr, 10)};
    if (part.bytes > settings.maxLayerBytes - total) {
      fail(kj::str("its blobs have more than ", settings.maxLayerBytes,
                   " bytes, the setting maxLayerBytes"));
    }
    total += part.bytes;
    names.push_back(part.name);
    parts.push_back(kj::mv(part));
  }
  auto take = [root = settings.root, layout = fetch.layout, names]() {
    return layOutKept(root, layout, names);
  };
  auto here = co_await env.workers().run(kj::mv(take));
  fetch.totalBytes = total;
  fetch.parts = kj::mv(parts);
  fetch.there.insert(here.begin(), here.end());
  if (!here.empty()) co_await dropDamaged(job, fetch);
}

Task<size_t> ImageStore::dropDamaged(Job& job, Fetch& fetch) {
  auto damaged = co_await askUnpacker(job, kj::str(fetch.folder().c_str()), "damaged");
  auto drop = [folder = fetch.folder(), damaged]() {
    for (auto& name : damaged) unlink((folder + name).c_str());
  };
  co_await env.workers().run(kj::mv(drop));
  for (auto& name : damaged) fetch.there.erase(name);
  co_return damaged.size();
}

Task<void> ImageStore::fetchBlob(Fetch& fetch, schema::ImageReader::Client source, std::string name,
                                 kj::Maybe<uint64_t> size) {
  using Answer = capnp::Response<schema::BlobPart>;
  auto incoming = fetch.layout + "/incoming";
  // Owned by this call and by a write that outlives it.
  using File = std::shared_ptr<kj::AutoCloseFd>;
  auto make = [incoming]() {
    unlink(incoming.c_str());
    int fd = open(incoming.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) failFile("make", incoming, errno);
    return std::make_shared<kj::AutoCloseFd>(fd);
  };
  File file = co_await env.workers().run(kj::mv(make));
  // Without a size one part is asked for, which tells it.
  bool known = size != nullptr;
  uint64_t expected = size.orDefault(1), asked = 0, written = 0;
  std::deque<kj::Promise<Answer>> window;
  while (written < expected) {
    for (; asked < expected && window.size() < PARTS_IN_FLIGHT; asked += PART_BYTES) {
      auto request = source.readRequest();
      request.setBlob(kj::str(SHA256.data(), name.c_str()));
      request.setOffset(asked);
      request.setMaxBytes(PART_BYTES);
      window.push_back(request.send());
    }
    auto next = kj::mv(window.front());
    window.pop_front();
    auto late = []() -> Answer {
      fail(kj::str("it has sent nothing for ", ANSWER_LIMIT / kj::SECONDS, " s"));
    };
    auto inTime = next.exclusiveJoin(env.timer().afterDelay(ANSWER_LIMIT).then(kj::mv(late)));
    auto answer = co_await inTime;
    if (!known) {
      known = true;
      expected = kj::min(answer.getTotalBytes(), MAX_MANIFEST);
      fetch.manifestBytes = expected;
    }
    auto data = answer.getData();
    bool fits = answer.getTotalBytes() == expected && data.size() > 0 &&
                data.size() == kj::min(expected - written, PART_BYTES);
    if (!fits) fail(kj::str("blob sha256:", name.c_str(), " is of another size there"));
    if (env.timer().now() > fetch.until) {
      fail(kj::str("it is not done after ", settings.pullTimeout / kj::SECONDS,
                   " s, the setting pullTimeoutSeconds"));
    }
    auto write = [file, incoming, bytes = kj::heapArray(data), at = written]() {
      for (size_t done = 0; done < bytes.size();) {
        ssize_t n = pwrite(*file, bytes.begin() + done, bytes.size() - done, at + done);
        if (n < 0 && errno != EINTR) failFile("write", incoming, errno);
        if (n > 0) done += n;
      }
    };
    fetch.cannotWrite = true;
    co_await env.workers().run(kj::mv(write));
    fetch.cannotWrite = false;
    written += data.size();
    fetch.doneBytes = kj::min(fetch.doneBytes + data.size(), fetch.totalBytes);
    fetch.progress.report(kj::str("fetching from ", fetch.from.c_str()), fetch.doneBytes,
                          fetch.totalBytes);
  }
  auto place = [incoming, to = fetch.folder() + name]() {
    KJ_SYSCALL(rename(incoming.c_str(), to.c_str()), to.c_str());
  };
  co_await env.workers().run(kj::mv(place));
}

}  // namespace orch::image::oci
