#include "store-fixture.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "orch/testing/test-host.h"
#include "test-images.h"

namespace orch::image::oci::test {

namespace {
NodeFacts factsFor(kj::StringPtr folder) {
  NodeFacts facts;
  facts.id = kj::str("testnode00000000000000000");
  facts.name = kj::str("test-node");
  facts.dataDir = kj::str(folder);
  facts.runDir = kj::str(folder);
  facts.instance = kj::str("image.oci");
  return facts;
}
}  // namespace

TestStore::TestStore(kj::StringPtr name, std::string root)
    : folder(kj::heap<testing::TestFolder>(kj::str("image-", name))),
      env(newSystemEnv(io)),
      testHost(kj::heap<testing::TestHost>(folder->path(), folder->path(), "image.oci")) {
  settings.root = root.empty() ? sub("image.oci") : root;
  settings.unpacker = UNPACKER;
  settings.skopeo.program = "skopeo";
  settings.skopeo.architecture = "amd64";
  settings.pullTimeout = 60 * kj::SECONDS;
  settings.unpackTimeout = 60 * kj::SECONDS;
  settings.concurrentTransfers = 3;
  settings.maxLayerBytes = 1 << 30;
  host = kj::heap<Host>(testHost->client(), factsFor(folder->path()));
  restart();
}

std::string TestStore::path() const { return folder->path().cStr(); }

TestStore::~TestStore() noexcept(false) { stop(); }

void TestStore::stop() {
  client = nullptr;
  // What calls that were given up leave is dropped in the loop's next turns.
  kj::evalLast([]() {}).wait(io.waitScope);
  store = nullptr;
}

void TestStore::restart() {
  stop();
  store = kj::heap<ImageStore>(*env, *host, settings);
  store->recover().wait(io.waitScope);
  client = newImageService(*store).castAs<schema::ImageStore>();
}

kj::Promise<std::string> TestStore::ensureLater(const std::string& reference,
                                                const std::string& holder,
                                                kj::Maybe<schema::Progress::Client> progress) {
  auto request = service().ensureRequest();
  request.setReference(reference);
  request.setHolder(holder);
  KJ_IF_MAYBE (sink, progress) request.setProgress(*sink);
  return request.send().then(
      [](auto&& answer) { return std::string(answer.getImage().getId().cStr()); });
}

std::string TestStore::ensure(const std::string& reference, const std::string& holder) {
  return ensureLater(reference, holder).wait(io.waitScope);
}

std::vector<std::string> TestStore::import(const std::string& path, const std::string& reference) {
  auto request = service().importRequest();
  request.setPath(path);
  request.setReference(reference);
  auto answer = request.send().wait(io.waitScope);
  std::vector<std::string> ids;
  for (auto image : answer.getImages()) ids.push_back(image.getId().cStr());
  return ids;
}

std::vector<std::string> TestStore::layersOf(const std::string& reference) {
  auto request = service().inspectRequest();
  request.setReference(reference);
  auto answer = request.send().wait(io.waitScope);
  std::vector<std::string> folders;
  for (auto layer : answer.getImage().getLayers()) folders.push_back(layer.cStr());
  return folders;
}

size_t TestStore::eventsOf(const std::string& topic) const {
  auto& events = testHost->events();
  return std::count_if(events.begin(), events.end(),
                       [&](auto& event) { return event.topic == topic; });
}

void checkNothingLeft(TestStore& test) {
  CHECK(filesIn(test.root() + "/tmp").empty());
  CHECK(filesIn(test.root() + "/layers").empty());
  CHECK(filesIn(test.root() + "/blobs").empty());
  CHECK(filesIn(test.root() + "/kept").empty());
}

TestRegistry::TestRegistry(TestStore& store, const std::string& passwords) : store(store) {
  std::string auth;
  if (!passwords.empty()) {
    writeFile(store.sub("passwords"), passwords);
    auth = "auth: {htpasswd: {realm: test, path: " + store.sub("passwords") + "}}\n";
  }
  auto config = store.sub("registry.yml");
  writeFile(config, "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: " +
                        store.sub("registry") + "}}\nhttp: {addr: \"127.0.0.1:0\"}\n" + auth);
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC));
  kj::AutoCloseFd writeEnd(fds[1]);
  log = store.io.lowLevelProvider->wrapInputFd(fds[0], kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP);
  ProcessSpec spec;
  for (auto* word : {"/usr/bin/docker-registry", "serve", config.c_str()}) {
    spec.argv.add(kj::str(word));
  }
  spec.env.add(kj::str("OTEL_TRACES_EXPORTER=none"));
  spec.fds.add(ProcessSpec::Fd{2, writeEnd});
  spec.dieWithParent = true;
  process = store.env->processes().spawn(kj::mv(spec)).wait(store.io.waitScope);
  writeEnd = nullptr;
  std::string said;
  constexpr std::string_view MARK = "listening on ";
  auto complete = [&]() {
    auto at = said.find(MARK);
    return at != std::string::npos &&
           said.find_first_of(",\" \n", at + MARK.size()) != std::string::npos;
  };
  char buffer[4096];
  while (!complete()) {
    size_t n = log->tryRead(buffer, 1, sizeof(buffer)).wait(store.io.waitScope);
    KJ_REQUIRE(n > 0, "docker-registry did not start", said);
    said.append(buffer, n);
  }
  auto begin = said.find(MARK) + MARK.size();
  address = said.substr(begin, said.find_first_of(",\" \n", begin) - begin);
  draining = log->readAllText(64 << 20).ignoreResult().eagerlyEvaluate([](kj::Exception&&) {});
}

TestRegistry::~TestRegistry() noexcept(false) {
  process->signal(SIGKILL);
  process->onExit().ignoreResult().wait(store.io.waitScope);
}

void TestRegistry::push(const std::string& layout, const std::string& name, const char* format,
                        bool list) {
  ProcessSpec spec;
  auto target = "docker://" + address + "/" + name;
  bool archive = layout.ends_with(".tar");
  auto source = (archive ? "docker-archive:" : "oci:") + layout;
  for (auto* word : {"skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--format",
                     format, list ? "-aq" : "-q", source.c_str(), target.c_str()}) {
    spec.argv.add(kj::str(word));
  }
  if (!login.empty()) spec.argv.add(kj::str("--dest-creds=", login.c_str()));
  spec.env.add(kj::str("PATH=", getenv("PATH")));
  spec.env.add(kj::str("HOME=", store.folder->path()));
  auto result = store.env->command(kj::mv(spec)).wait(store.io.waitScope);
  KJ_REQUIRE(result.status == 0, result.errors);
}

}  // namespace orch::image::oci::test
