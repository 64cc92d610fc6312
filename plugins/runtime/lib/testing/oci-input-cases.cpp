// Images and wishes from the field that crun and runc treat differently, or wrongly: the same
// answer with both.
#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "oci-subject.h"

namespace orch::runtime {
namespace {

namespace fs = std::filesystem;
using Change = kj::Function<void(schema::ContainerRequest::Builder)>;

std::string seen(OciSubject& subject, kj::StringPtr script, Change change) {
  auto request = subject.request("c1", script);
  change(request.getRequest());
  CHECK(subject.run(kj::mv(request)) == 0);
  auto text = subject.output("c1");
  subject.remove("c1");
  return text;
}

std::string refusal(OciSubject& subject, Change change) {
  auto request = subject.request("c1", "true");
  change(request.getRequest());
  return conformance::errorText(request.send().ignoreResult(), subject.waitScope());
}

schema::Mount::Builder mountOf(schema::ContainerRequest::Builder request, schema::Mount::Type type,
                               kj::StringPtr target, kj::StringPtr source = "") {
  auto mount = request.getSpec().initMounts(1)[0];
  mount.setType(type);
  mount.setTarget(target);
  mount.setSource(source);
  return mount;
}

TEST_CASE("runtime: HOME is the user's, or the root", "[runtime][root][cgroup]") {
  OciSubject subject("home");
  auto home = [&](kj::StringPtr user, kj::StringPtr given = nullptr) {
    return seen(subject, "env | grep ^HOME=", [&](auto request) {
      request.getSpec().setUser(user);
      if (given.size() > 0) request.getSpec().initEnv(1).set(0, given);
    });
  };
  CHECK(home("") == "HOME=/root\n");
  CHECK(home("alice") == "HOME=/home/alice\n");
  CHECK(home("1000") == "HOME=/home/alice\n");
  CHECK(home("1234") == "HOME=/\n");
  CHECK(home("1234", "HOME=/mine") == "HOME=/mine\n");
  CHECK(home("alice", "HOME=") == "HOME=/home/alice\n");
}

TEST_CASE("runtime: an entrypoint of one empty text is none", "[runtime][root][cgroup]") {
  OciSubject subject("no-entrypoint");
  CHECK(seen(subject, "", [](auto request) {
          request.getImage().initEntrypoint(1).set(0, "");
          auto command = request.getImage().initCommand(2);
          command.set(0, "echo");
          command.set(1, "hi");
          request.getSpec().initArgs(0);
        }) == "hi\n");
  auto takenAway = [](schema::ContainerRequest::Builder request) {
    auto entrypoint = request.getImage().initEntrypoint(2);
    entrypoint.set(0, "echo");
    entrypoint.set(1, "image:");
    request.getSpec().initCommand(1).set(0, "");
  };
  CHECK(seen(subject, "", [&](auto request) {
          takenAway(request);
          auto args = request.getSpec().initArgs(2);
          args.set(0, "echo");
          args.set(1, "alone");
        }) == "alone\n");
  // Then the image's command is not what runs, as with docker.
  CHECK_THAT(refusal(subject,
                     [&](auto request) {
                       takenAway(request);
                       request.getImage().initCommand(1).set(0, "echo");
                       request.getSpec().initArgs(0);
                     }),
             Catch::StartsWith("no command"));
}

TEST_CASE("runtime: folders are made where the image's links lead", "[runtime][root][cgroup]") {
  OciSubject subject("dangling");
  fs::create_symlink("/srv/t1", subject.layer + "/t1");
  fs::create_symlink("/newdir", subject.layer + "/away");
  fs::create_symlink("circle", subject.layer + "/circle");
  fs::create_symlink("../run/resolv.conf", subject.layer + "/etc/resolv.conf");
  CHECK(seen(subject, "pwd -P", [](auto request) { request.getSpec().setWorkdir("/t1"); }) ==
        "/srv/t1\n");
  CHECK_THAT(refusal(subject, [](auto request) { request.getSpec().setWorkdir("/circle/x"); }),
             Catch::Contains("run in a circle"));
  auto source = kj::str(subject.folder(), "/bound");
  fs::create_directories(source.cStr());
  for (auto type :
       {schema::Mount::Type::BIND, schema::Mount::Type::VOLUME, schema::Mount::Type::TMPFS}) {
    kj::StringPtr from = type == schema::Mount::Type::BIND     ? source.asPtr()
                         : type == schema::Mount::Type::VOLUME ? "v"_kj
                                                               : ""_kj;
    CHECK(seen(subject, "touch /away/x; ls /newdir; grep -c ' /newdir ' /proc/mounts",
               [&](auto request) { mountOf(request, type, "/away", from); }) == "x\n1\n");
  }
  CHECK_THAT(seen(subject, "cat /run/resolv.conf",
                  [](auto request) { request.getSpec().initDns(1).set(0, "10.1.1.1"); }),
             Catch::Contains("nameserver 10.1.1.1\n"));
}

TEST_CASE("runtime: a tmpfs has the mode that it is given, whatever lies below",
          "[runtime][root][cgroup]") {
  OciSubject subject("tmpfs-mode");
  auto mode = [&](kj::StringPtr target, kj::Maybe<unsigned> given) {
    return seen(subject, kj::str("stat -c %a ", target), [&](auto request) {
      auto mount = mountOf(request, schema::Mount::Type::TMPFS, target);
      KJ_IF_MAYBE (value, given) mount.setTmpfsMode(*value);
    });
  };
  CHECK(mode("/data", nullptr) == "1777\n");  // the image's folder has 0750
  CHECK(mode("/data", 0700) == "700\n");
  CHECK(mode("/fresh/one", 0711) == "711\n");
}

TEST_CASE("runtime: nothing is written through a read-only mount", "[runtime][root][cgroup]") {
  OciSubject subject("read-only");
  auto source = kj::str(subject.folder(), "/ro");
  fs::create_directories(source.cStr());
  auto readOnly = [&](schema::Mount::Builder mount, schema::Mount::Type type) {
    mount.setType(type);
    mount.setSource(type == schema::Mount::Type::BIND ? source.asPtr() : "v"_kj);
    mount.setTarget("/ro");
    mount.setReadOnly(true);
  };
  for (auto type : {schema::Mount::Type::BIND, schema::Mount::Type::VOLUME}) {
    CHECK_THAT(refusal(subject,
                       [&](auto request) {
                         auto mounts = request.getSpec().initMounts(2);
                         readOnly(mounts[0], type);
                         mounts[1].setType(schema::Mount::Type::TMPFS);
                         mounts[1].setTarget("/ro/made");
                       }),
               Catch::StartsWith("'/ro/made' is not there in the container, and what is mounted at "
                                 "'/ro' is read-only: make 'made' in '"));
    CHECK_THAT(refusal(subject,
                       [&](auto request) {
                         readOnly(request.getSpec().initMounts(1)[0], type);
                         request.getSpec().setWorkdir("/ro/work");
                       }),
               Catch::StartsWith("'/ro/work' is not there in the container"));
  }
  CHECK(fs::is_empty(source.cStr()));
  fs::create_directories(kj::str(source, "/made").cStr());
  CHECK(seen(subject, "touch /ro/made/x; ls /ro/made; touch /ro/x 2>/dev/null || echo refused",
             [&](auto request) {
               auto mounts = request.getSpec().initMounts(2);
               readOnly(mounts[0], schema::Mount::Type::BIND);
               mounts[1].setType(schema::Mount::Type::TMPFS);
               mounts[1].setTarget("/ro/made");
             }) == "x\nrefused\n");
  CHECK(fs::is_empty(kj::str(source, "/made").cStr()));
}

TEST_CASE("runtime: an image's volume without a slash is meant from the root",
          "[runtime][root][cgroup]") {
  OciSubject subject("volume-slash");
  for (auto target : {"./data", "data/"}) {
    CHECK(seen(subject, "cat /data/seed; grep -c ' /data ' /proc/mounts", [&](auto request) {
            request.getImage().initVolumes(1).set(0, target);
          }) == "from the image\n1\n");
  }
}

TEST_CASE("runtime: a host name may have an underscore", "[runtime][root][cgroup]") {
  OciSubject subject("underscore");
  CHECK(seen(subject, "hostname",
             [](auto request) { request.getSpec().setHostname("build_01"); }) == "build_01\n");
}

TEST_CASE("runtime: why a program cannot be run is said by name", "[runtime][root][cgroup]") {
  OciSubject subject("not-runnable");
  std::ofstream(subject.layer + "/bin/plain") << "x";
  fs::create_directories(subject.layer + "/bin/sub");
  auto running = [&](kj::StringPtr program) {
    return refusal(subject, [&](auto request) { request.getSpec().initArgs(1).set(0, program); });
  };
  CHECK(running("/bin") == "cannot run '/bin': it is a folder");
  CHECK(running("sub") == "cannot run 'sub': of '/bin/sub': it is a folder");
  CHECK(running("/nope") == "cannot run '/nope': the container has no such file");
  CHECK(running("/bin/plain") ==
        "cannot run '/bin/plain': it is not executable (its mode is 0644)");
  CHECK_THAT(running("nope"), Catch::StartsWith("cannot run 'nope': none of the folders of PATH"));
}

TEST_CASE("runtime: a full disk is called so", "[runtime][root][cgroup]") {
  OciSubject subject("full", 2 << 20);
  auto refused = [&] {
    return refusal(subject, [](auto request) { request.getSpec().setWorkdir("/srv/deep/down"); });
  };
  subject.setDiskFull(true);
  CHECK_THAT(refused(), Catch::Contains("o space"));
  subject.setDiskFull(false);
  CHECK(subject.run(subject.request("c1", "true")) == 0);
  subject.remove("c1");
}

TEST_CASE("runtime: a mount source of the wrong kind, or a dead one, is named",
          "[runtime][root][cgroup]") {
  OciSubject subject("source-kind");
  auto file = kj::str(subject.folder(), "/file");
  std::ofstream(file.cStr()) << "bound\n";
  CHECK_THAT(
      refusal(subject,
              [&](auto request) { mountOf(request, schema::Mount::Type::BIND, "/data", file); }),
      Catch::StartsWith("cannot mount a file at '/data': the container has a folder there"));
  CHECK(seen(subject, "cat /new/file", [&](auto request) {
          mountOf(request, schema::Mount::Type::BIND, "/new/file", file);
        }) == "bound\n");
  CHECK(refusal(subject, [&](auto request) {
          mountOf(request, schema::Mount::Type::BIND, "/data", kj::str(file, "/below"));
        }) == kj::str("bind source '", file, "/below' cannot be used: Not a directory").cStr());
}

}  // namespace
}  // namespace orch::runtime
