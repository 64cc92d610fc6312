// Containers that cannot be made yet, since something outside holds them up.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "oci-subject.h"
#include "orch/attempt.h"

namespace orch::runtime {
namespace {

namespace fs = std::filesystem;

// Hears what a container waits for.
class Heard final : public schema::Waiting::Server {
 public:
  struct Reasons {
    std::vector<std::string> all;
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> next;
  };
  explicit Heard(Reasons& reasons) : reasons(reasons) {}
  kj::Promise<void> because(BecauseContext context) override {
    reasons.all.push_back(context.getParams().getReason().cStr());
    KJ_IF_MAYBE (fulfiller, reasons.next) (*fulfiller)->fulfill();
    reasons.next = nullptr;
    return kj::READY_NOW;
  }

 private:
  Reasons& reasons;
};

std::string firstReason(OciSubject& subject, Heard::Reasons& reasons) {
  if (reasons.all.empty()) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    reasons.next = kj::mv(pair.fulfiller);
    pair.promise.wait(subject.waitScope());
  }
  return reasons.all[0];
}

kj::AutoCloseFd lockVolume(OciSubject& subject, const char* name) {
  auto path = kj::str(subject.folder(), "/data/volumes/", name);
  fs::create_directories(path.cStr());
  kj::AutoCloseFd fd(open(path.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(flock(fd, LOCK_EX) == 0);
  return fd;
}

auto withVolume(OciSubject& subject, kj::StringPtr id, Heard::Reasons& reasons) {
  auto request = subject.request(id, "cat /data/seed");
  auto mount = request.getRequest().getSpec().initMounts(1)[0];
  mount.setType(schema::Mount::Type::VOLUME);
  mount.setSource("v");
  mount.setTarget("/data");
  request.setWaiting(kj::heap<Heard>(reasons));
  return request;
}

TEST_CASE("runtime: a volume that is locked holds up whoever needs it, and nobody else",
          "[runtime][root][cgroup]") {
  OciSubject subject("wait-volume");
  auto lock = lockVolume(subject, "v");
  Heard::Reasons reasons;
  // More than the runtime has places and threads.
  constexpr unsigned MANY = 20;
  kj::Vector<kj::Promise<void>> waiting;
  for (unsigned i = 0; i < MANY; ++i) {
    auto request = withVolume(subject, kj::str("w", i), reasons);
    waiting.add(request.send().ignoreResult());
  }
  auto all = kj::joinPromises(waiting.releaseAsArray()).eagerlyEvaluate(nullptr);
  CHECK_THAT(firstReason(subject, reasons),
             Catch::Matches("waits for the volume 'v': it has been locked for [0-9]+ s"));
  CHECK(subject.run(subject.request("other", "true")) == 0);
  subject.remove("other");
  lock = nullptr;
  all.wait(subject.waitScope());
  CHECK(reasons.all.back() == "");
  subject.start("w7");
  CHECK(subject.wait("w7") == 0);
  CHECK(subject.output("w7") == "from the image\n");
}

TEST_CASE("runtime: what is stopped or removed while it waits is given up",
          "[runtime][root][cgroup]") {
  OciSubject subject("wait-stop");
  auto lock = lockVolume(subject, "v");
  for (bool removes : {false, true}) {
    Heard::Reasons reasons;
    auto making = withVolume(subject, "c1", reasons).send().ignoreResult();
    firstReason(subject, reasons);
    if (removes) {
      subject.remove("c1");
    } else {
      auto stop = subject.runtime().stopRequest();
      stop.setId("c1");
      CHECK(conformance::errorText(stop.send().ignoreResult(), subject.waitScope()) != "");
    }
    CHECK(conformance::errorText(kj::mv(making), subject.waitScope()) ==
          "container 'c1' was given up while it waited for the volume 'v'");
    auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
    CHECK(listed.getContainers().size() == 0);
  }
}

TEST_CASE("runtime: what waits does not keep the plugin from stopping", "[runtime][root][cgroup]") {
  OciSubject subject("wait-drain");
  auto lock = lockVolume(subject, "v");
  Heard::Reasons reasons;
  auto making = withVolume(subject, "c1", reasons).send().ignoreResult();
  firstReason(subject, reasons);
  subject.stopPlugin();
  auto outcome = attempt(kj::mv(making)).wait(subject.waitScope());
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.error().getType() == kj::Exception::Type::DISCONNECTED);
  subject.restartAfterCrash();
  lock = nullptr;
  CHECK(subject.run(withVolume(subject, "c1", reasons)) == 0);
}

TEST_CASE("runtime: a plugin may go while a container waits", "[runtime][root][cgroup]") {
  OciSubject subject("wait-go");
  auto lock = lockVolume(subject, "v");
  Heard::Reasons reasons;
  kj::Promise<void> making = withVolume(subject, "c1", reasons).send().ignoreResult();
  firstReason(subject, reasons);
  making = nullptr;  // it goes on
  subject.restartAfterCrash();
  auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
  CHECK(listed.getContainers().size() == 0);
}

TEST_CASE("runtime: a wait has an end, with a reason", "[runtime][root][cgroup]") {
  OciSubject subject("wait-end");
  subject.crash();
  subject.setProgram("");  // with short deadlines
  subject.restart();
  auto lock = lockVolume(subject, "v");
  Heard::Reasons reasons;
  auto making = withVolume(subject, "c1", reasons).send().ignoreResult();
  CHECK_THAT(
      conformance::errorText(kj::mv(making), subject.waitScope()),
      Catch::Matches("gave up to wait for the volume 'v': it has been locked for [1-9][0-9]* "
                     "s \\(prepareTimeoutMs is 1500\\)"));
}

// `stat` as somebody who asks a file system that does not answer; says how often it was asked.
class HangingStat {
 public:
  explicit HangingStat(const OciSubject& subject)
      : folder(std::string(subject.folder().cStr()) + "/hanging"), before(getenv("PATH")) {
    fs::create_directories(folder);
    std::ofstream(folder + "/stat")
        << "#!/bin/sh\necho x >>" << folder << "/asked\nwhile [ ! -e " << folder
        << "/answer ]; do sleep 0.05; done\nexec /usr/bin/stat \"$@\"\n";
    REQUIRE(chmod((folder + "/stat").c_str(), 0755) == 0);
    setenv("PATH", (folder + ":" + before).c_str(), 1);
  }
  ~HangingStat() { setenv("PATH", before.c_str(), 1); }
  void answer() { std::ofstream(folder + "/answer") << "x"; }
  size_t asked() const {
    std::error_code error;
    auto bytes = fs::file_size(folder + "/asked", error);
    return error ? 0 : bytes / 2;
  }

 private:
  std::string folder;
  std::string before;
};

TEST_CASE("runtime: a mount source that does not answer holds up whoever needs it",
          "[runtime][root][cgroup]") {
  OciSubject subject("wait-source", 8 << 20);
  HangingStat source(subject);
  auto path = kj::str(subject.folder(), "/data/bound");  // on no disk of this host
  fs::create_directories(path.cStr());
  std::ofstream(kj::str(path, "/seed").cStr()) << "bound\n";
  Heard::Reasons reasons;
  kj::Vector<kj::Promise<void>> waiting;
  constexpr unsigned MANY = 20;
  for (unsigned i = 0; i < MANY; ++i) {
    auto request = subject.request(kj::str("w", i), "cat /data/seed");
    auto mount = request.getRequest().getSpec().initMounts(1)[0];
    mount.setSource(path);
    mount.setTarget("/data");
    request.setWaiting(kj::heap<Heard>(reasons));
    waiting.add(request.send().ignoreResult());
  }
  auto all = kj::joinPromises(waiting.releaseAsArray()).eagerlyEvaluate(nullptr);
  CHECK_THAT(
      firstReason(subject, reasons),
      Catch::StartsWith(
          kj::str("waits for the mount source '", path, "': it has not answered for ").cStr()));
  CHECK(subject.run(subject.request("other", "true")) == 0);
  subject.remove("other");
  while (source.asked() == 0) {
    subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
  }
  CHECK(source.asked() == 1);
  source.answer();
  all.wait(subject.waitScope());
  subject.start("w7");
  CHECK(subject.wait("w7") == 0);
  CHECK(subject.output("w7") == "bound\n");
}

}  // namespace
}  // namespace orch::runtime
