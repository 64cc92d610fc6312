// The part of ImageStore that asks registries.
#include <unistd.h>

#include <cstring>

#include "image-store.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::image::oci {

namespace {
constexpr const char* DOCKER_TYPES = "application/vnd.docker.";
}

Task<ImageStore::Record> ImageStore::pull(kj::String reference,
                                          kj::Maybe<schema::Progress::Client> progress,
                                          Asking asking) {
  auto wanted = parseReference(reference);
  auto name = wanted.familiar();
  co_await transferOf(kj::mv(wanted), kj::mv(progress), kj::mv(asking));
  auto record = index.byName(name);
  if (!record) fail(kj::str("image '", name.c_str(), "' was removed while it was pulled"));
  co_return record;
}

kj::Promise<void> ImageStore::transferOf(Reference reference,
                                         kj::Maybe<schema::Progress::Client> progress,
                                         Asking asking) {
  auto key = reference.canonical();
  return transfers.join(key, kj::mv(progress), [&](ProgressSink& sink) {
    return runPull(sink, kj::mv(reference), kj::mv(asking));
  });
}

Task<void> ImageStore::runPull(ProgressSink& progress, Reference reference, Asking asking) {
  auto name = kj::str(reference.familiar().c_str());
  progress.report(kj::str("pulling ", name), 0, 0);
  auto job = co_await newJob();
  auto outcome = co_await attempt(obtain(*job, progress, kj::mv(reference), kj::mv(asking)));
  if (!outcome.ok()) {
    co_await abandon(*job);
    fail(kj::str("cannot pull image '", name, "': ", outcome.message()));
  }
  auto obtained = kj::mv(outcome.value());
  auto from = kj::str(obtained.from.c_str());
  co_await commit(obtained.records, true, kj::mv(job));
  auto info = obtained.records.at(0)->info();
  bool fetched = from.size() > 0;
  host.log().info("image pulled",
                  {{"image", name},
                   {"id", info.getId()},
                   {"from", fetched ? kj::str("node ", from) : kj::str("registry")}});
  host.publish(fetched ? "image.fetched" : "image.pulled", name,
               {{"id", info.getId()},
                {"digest", info.getDigest()},
                {"bytes", info.getSizeBytes()},
                {"node", from}});
}

Task<kj::String> ImageStore::download(Job& job, ProgressSink& progress, Reference reference,
                                      std::string auth) {
  auto skopeo = co_await skopeoFor(kj::mv(auth), job.folder() + "/auth.json");
  auto chosen = co_await chooseManifest(job, skopeo, kj::mv(reference));
  co_await runSkopeo(job, skopeo, progress, chosen);
  co_await fetchSourceManifest(job, skopeo, kj::mv(chosen));
  co_return kj::str(job.folder().c_str(), "/layout");
}

Task<SkopeoSettings> ImageStore::skopeoFor(std::string auth, std::string file) {
  auto skopeo = settings.skopeo;
  if (!auth.empty()) {
    skopeo.authFile = file;
    auto write = [auth, file]() {
      replaceFile(file, kj::StringPtr(auth.c_str()).asBytes(), Outlives::PROCESS);
    };
    co_await env.workers().run(kj::mv(write));
  }
  co_return kj::mv(skopeo);
}

// Which image of a list it is is decided by the rules that imports go by, not by skopeo's.
Task<Reference> ImageStore::chooseManifest(Job& job, const SkopeoSettings& skopeo,
                                           Reference reference) {
  auto question = skopeoManifest(skopeo, reference);
  auto answer = co_await askSkopeo(kj::mv(question));
  if (answer.status != 0) fail(kj::str(skopeoReason(answer.errors, answer.status).c_str()));
  auto path = job.folder() + "/manifest";
  auto keep = [path, text = kj::mv(answer.output)]() {
    replaceFile(path, text.asBytes(), Outlives::PROCESS);
  };
  co_await env.workers().run(kj::mv(keep));
  auto digest = co_await askUnpacker(job, kj::str(path.c_str()), "choose");
  if (!digest.empty()) reference.digest = digest[0];
  co_return kj::mv(reference);
}

Task<std::vector<std::string>> ImageStore::askUnpacker(Job& job, kj::String source,
                                                       kj::StringPtr only) {
  auto spec = unpackerSpec(job, source);
  spec.argv.add(kj::str("--only"));
  spec.argv.add(kj::str(only));
  std::vector<std::string> lines;
  kj::Function<void(kj::StringPtr)> onLine = [&lines](kj::StringPtr line) {
    lines.push_back(line.cStr());
  };
  auto running = job.run(kj::mv(spec), kj::mv(onLine)).promise();
  auto inTime = within(settings.unpackTimeout, kj::mv(running), "unpackTimeoutSeconds");
  auto result = co_await inTime;
  if (result.status != 0) fail(kj::str(lastLine(result.errors).c_str()));
  co_return kj::mv(lines);
}

Task<void> ImageStore::runSkopeo(Job& job, const SkopeoSettings& skopeo, ProgressSink& progress,
                                 Reference reference) {
  auto layout = job.folder() + "/layout";
  auto blobs = placeholders();
  auto make = [root = settings.root, layout, blobs = kj::mv(blobs)]() {
    makeLayout(root, layout, blobs);
  };
  co_await env.workers().run(kj::mv(make));
  auto spec = skopeoCopy(skopeo, reference, layout, job.folder());
  KJ_IF_MAYBE (held, lock) spec.fds.add(ProcessSpec::Fd{3, *held});
  kj::Function<void(kj::StringPtr)> onLine = [&progress](kj::StringPtr line) {
    progress.report(line, 0, 0);
  };
  auto running = job.run(kj::mv(spec), kj::mv(onLine)).promise();
  auto inTime = within(settings.pullTimeout, kj::mv(running), "pullTimeoutSeconds");
  auto result = co_await inTime;
  if (result.status != 0) fail(kj::str(skopeoReason(result.errors, result.status).c_str()));
}

// skopeo writes docker's manifests anew, as OCI ones. A registry knows an image by what it sent
// itself, which the unpacker looks at. Without it the image is just shown with the new digest.
Task<void> ImageStore::fetchSourceManifest(Job& job, const SkopeoSettings& skopeo,
                                           Reference reference) {
  auto look = [layout = job.folder() + "/layout"]() { return mayBeConverted(layout); };
  bool converted = co_await env.workers().run(kj::mv(look));
  if (!converted) co_return;
  auto manifest = co_await askSource(skopeoManifest(skopeo, reference));
  bool ofDocker = strstr(manifest.cStr(), DOCKER_TYPES) != nullptr;
  co_await keepSource(job.folder() + SOURCE_MANIFEST, kj::mv(manifest));
  if (!ofDocker) co_return;
  auto config = co_await askSource(skopeoConfig(skopeo, reference));
  if (config.size() == 0) {
    host.log().warn("image.check-unknown", {{"image", reference.familiar().c_str()},
                                            {"reason", "its configuration could not be read"}});
  }
  co_await keepSource(job.folder() + SOURCE_CONFIG, kj::mv(config));
}

// Empty if it cannot be had.
Task<kj::String> ImageStore::askSource(ProcessSpec question) {
  auto asking = askSkopeo(kj::mv(question));
  auto result = co_await attempt(kj::mv(asking));
  constexpr size_t LIMIT = 1 << 20;  // of CommandResult: what is longer was cut
  if (!result.ok() || result.value().status != 0 || result.value().output.size() >= LIMIT) {
    co_return kj::String();
  }
  co_return kj::mv(result.value().output);
}

kj::Promise<void> ImageStore::keepSource(std::string path, kj::String text) {
  if (text.size() == 0) return kj::READY_NOW;
  return env.workers().run([path, text = kj::mv(text)]() { writeChecked(path, text.asBytes()); });
}

kj::Promise<CommandResult> ImageStore::askSkopeo(ProcessSpec spec) {
  auto late = [limit = settings.pullTimeout]() -> CommandResult {
    fail(kj::str("it is not done after ", limit / kj::SECONDS,
                 " s, the setting pullTimeoutSeconds"));
  };
  return env.command(kj::mv(spec))
      .promise()
      .exclusiveJoin(env.timer().afterDelay(settings.pullTimeout).then(kj::mv(late)));
}

Task<std::string> ImageStore::resolve(kj::String reference, Asking asking) {
  auto wanted = parseReference(reference);
  if (!wanted.digest.empty()) co_return wanted.digest;
  auto name = kj::str(wanted.familiar().c_str());
  if (auto record = index.byName(name.cStr())) {
    bool pulled = false;
    for (auto other : record->info().getPulled()) pulled = pulled || other == name;
    if (!pulled) co_return std::string(record->info().getDigest().cStr());
  }
  auto checked = [&name](CommandResult result) {
    if (result.status == 0) return kj::mv(result.output);
    auto reason = skopeoReason(result.errors, result.status);
    fail(kj::str("cannot resolve image '", name, "': ", reason.c_str()));
  };
  auto file = settings.root + "/tmp/resolve-" + env.newId().cStr();
  auto login = file + ".auth";
  KJ_DEFER(unlink(login.c_str()));
  auto skopeo = co_await skopeoFor(kj::mv(asking.auth), login);
  auto question = skopeoManifest(skopeo, wanted);
  auto answer = co_await askSkopeo(kj::mv(question));
  auto keep = [file, text = checked(kj::mv(answer))]() {
    replaceFile(file, text.asBytes(), Outlives::PROCESS);
  };
  co_await env.workers().run(kj::mv(keep));
  KJ_DEFER(unlink(file.c_str()));
  auto count = skopeoDigest(skopeo, file);
  auto counted = co_await askSkopeo(kj::mv(count));
  co_return lastLine(checked(kj::mv(counted)));
}

// Layers that are here already. skopeo does not fetch a blob that the layout has, and the unpacker
// does not read one whose layer is here: so a file of the right length is enough.
std::map<std::string, Placeholder> ImageStore::placeholders() const {
  std::map<std::string, Placeholder> blobs;
  for (auto& [id, record] : index.all()) {
    for (auto& layer : record->layers()) {
      if (!layer.blob.empty()) blobs[layer.blob] = {layer.folder(), layer.blobBytes};
    }
  }
  return blobs;
}

}  // namespace orch::image::oci
