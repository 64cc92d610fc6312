// What a container is given: for crun and runc alike.
#include <catch2/catch.hpp>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "oci-subject.h"

namespace orch::runtime {
namespace {

std::string printed(OciSubject& subject, kj::StringPtr script,
                    kj::Function<void(schema::ContainerRequest::Builder)> change) {
  auto request = subject.request("c1", script);
  change(request.getRequest());
  int code = subject.run(kj::mv(request));
  auto text = subject.output("c1");
  UNSCOPED_INFO(text);
  for (auto& line : conformance::readLogs(subject, "c1")) {
    if (line.isError) UNSCOPED_INFO("stderr: " << line.text);
  }
  CHECK(code == 0);
  subject.remove("c1");
  return text;
}

std::string refused(OciSubject& subject,
                    kj::Function<void(schema::ContainerRequest::Builder)> change) {
  auto request = subject.request("c1", "true");
  change(request.getRequest());
  return conformance::errorText(request.send().ignoreResult(), subject.waitScope());
}

TEST_CASE("runtime: limits are those of the cgroup", "[runtime][root][cgroup]") {
  OciSubject subject("limits");
  auto request = subject.request("c1", "sleep 1000");
  auto limits = request.getRequest().getResources();
  limits.setLimitCpuNanos(1'500'000'000);
  limits.setLimitMemoryBytes(64 << 20);
  limits.setLimitPids(33);
  request.send().wait(subject.waitScope());
  CHECK(subject.cgroupFile("c1", "pids", "pids.max", "pids.max") == "33");
  CHECK(subject.cgroupFile("c1", "memory", "memory.limit_in_bytes", "memory.max") == "67108864");
  auto quota = subject.cgroupFile("c1", "cpu", "cpu.cfs_quota_us", "cpu.max");
  CHECK((quota == "150000" || quota == "150000 100000"));
  subject.remove("c1");
}

TEST_CASE("runtime: too much memory ends a container, and is told", "[runtime][root][cgroup]") {
  OciSubject subject("oom");
  auto request = subject.request("c1", "exec tail /dev/zero");
  request.getRequest().getResources().setLimitMemoryBytes(16 << 20);
  request.getRequest().getResources().setMemorySwapBytes(16 << 20);
  CHECK(subject.run(kj::mv(request)) == 137);
  auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
  CHECK(listed.getContainers()[0].getExit().getOomKilled());
  subject.remove("c1");
}

TEST_CASE("runtime: arguments, environment and working directory", "[runtime][root][cgroup]") {
  OciSubject subject("env");
  auto text = printed(subject, "pwd; env", [](auto request) {
    auto image = request.getImage();
    auto imageEnv = image.initEnv(2);
    imageEnv.set(0, "FROM_IMAGE=1");
    imageEnv.set(1, "BOTH=image");
    auto env = request.getSpec().initEnv(2);
    env.set(0, "BOTH=spec ü");
    env.set(1, "EMPTY=");
    request.getSpec().setWorkdir("/srv/./made/here");
    request.getSpec().setHostname("box");
  });
  CHECK_THAT(text, Catch::StartsWith("/srv/made/here\n"));
  CHECK_THAT(text, Catch::Contains("FROM_IMAGE=1\n"));
  CHECK_THAT(text, Catch::Contains("BOTH=spec ü\n"));
  CHECK_THAT(text, Catch::Contains("EMPTY=\n"));
  CHECK_THAT(text, Catch::Contains("HOSTNAME=box\n"));
  CHECK_THAT(text, Catch::Contains("HOME=/root\n"));
  CHECK_THAT(text,
             Catch::Contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
}

TEST_CASE("runtime: the image's entrypoint and command", "[runtime][root][cgroup]") {
  OciSubject subject("entrypoint");
  auto text = printed(subject, "", [](auto request) {
    auto entrypoint = request.getImage().initEntrypoint(2);
    entrypoint.set(0, "/bin/echo");
    entrypoint.set(1, "from");
    request.getImage().initCommand(1).set(0, "command");
    request.getSpec().initArgs(1).set(0, "arguments");
  });
  CHECK(text == "from arguments\n");
  text = printed(subject, "", [](auto request) {
    request.getImage().initEntrypoint(1).set(0, "/bin/false");
    request.getImage().initCommand(1).set(0, "ignored");
    auto command = request.getSpec().initCommand(2);
    command.set(0, "/bin/echo");
    command.set(1, "own");
    request.getSpec().initArgs(0);
  });
  CHECK(text == "own\n");
}

TEST_CASE("runtime: users by name and number", "[runtime][root][cgroup]") {
  OciSubject subject("users");
  auto ids = [&](kj::StringPtr user) {
    return printed(subject, "echo $(id -u) $(id -g) $(id -G)",
                   [&](auto request) { request.getSpec().setUser(user); });
  };
  CHECK(ids("") == "0 0 0\n");
  CHECK(ids("alice") == "1000 1001 1001 50\n");
  CHECK(ids("1000") == "1000 1001 1001 50\n");
  CHECK(ids("1000:staff") == "1000 50 50\n");
  CHECK(ids("4711:815") == "4711 815 815\n");
  CHECK(ids("4711") == "4711 0 0\n");
  auto extra = printed(subject, "id -G", [&](auto request) {
    request.getSpec().setUser("alice:alice");
    auto groups = request.getSpec().initGroups(2);
    groups.set(0, "wheel");
    groups.set(1, "99");
  });
  CHECK(extra == "1001 10 99\n");
}

TEST_CASE("runtime: protection is docker's", "[runtime][root][cgroup]") {
  OciSubject subject("protection");
  auto status = [&](kj::Function<void(schema::ContainerRequest::Builder)> change) {
    return printed(subject, "grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/self/status",
                   kj::mv(change));
  };
  auto usual = status([](auto) {});
  CHECK_THAT(usual, Catch::Contains("CapEff:\t00000000a80425fb"));
  CHECK_THAT(usual, Catch::Contains("CapBnd:\t00000000a80425fb"));
  CHECK_THAT(usual, Catch::Contains("Seccomp:\t2"));
  CHECK_THAT(usual, Catch::Contains("NoNewPrivs:\t0"));
  CHECK_THAT(status([](auto request) {
               request.getSpec().initCapDrop(1).set(0, "ALL");
               request.getSpec().initCapAdd(1).set(0, "net_bind_service");
             }),
             Catch::Contains("CapEff:\t0000000000000400"));
  CHECK_THAT(status([](auto request) { request.getSpec().setUser("alice"); }),
             Catch::Contains("CapEff:\t0000000000000000"));

  // unshare(2) and mount(2) are refused by the filter even to those who might, keyctl by nothing
  // else than the filter.
  CHECK(printed(subject, "unshare -U true 2>/dev/null; echo $?", [](auto) {}) == "1\n");
  CHECK(printed(subject, "mkdir /m; mount -t tmpfs none /m 2>/dev/null; echo $?", [](auto request) {
          request.getSpec().initCapAdd(1).set(0, "SYS_ADMIN");
        }) == "0\n");
  // Which of them exist depends on the kernel.
  CHECK(
      printed(subject,
              "for f in kcore keys latency_stats timer_list timer_stats sched_debug; do "
              "[ -e /proc/$f ] && cat /proc/$f; done; for d in /proc/asound /proc/acpi /proc/scsi "
              "/sys/firmware; do [ -e $d ] && ls -A $d; done; "
              "for d in bus fs irq sys; do [ ! -e /proc/$d ] || "
              "grep -c \" /proc/$d proc ro[, ]\" /proc/mounts; done | sort | uniq",
              [](auto) {}) == "1\n");
  CHECK(printed(subject, "ls /dev | grep -v core | tr '\\n' ' '", [](auto) {}) ==
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \n");
}

TEST_CASE("runtime: namespaces are the container's own", "[runtime][root][cgroup]") {
  OciSubject subject("namespaces");
  auto text = printed(subject,
                      "for n in mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$n; done; "
                      "ls /sys/class/net; hostname",
                      [](auto request) { request.getSpec().setHostname("alone"); });
  for (auto name : {"mnt", "pid", "uts", "ipc", "net"}) {
    auto own = std::filesystem::read_symlink(std::string("/proc/self/ns/") + name).string();
    CHECK_THAT(text, !Catch::Contains(own));
  }
  CHECK_THAT(text, Catch::Contains("lo\nalone\n"));
  auto ofHost = printed(subject, "readlink /proc/self/ns/net",
                        [](auto request) { request.getNetwork().setHost(); });
  CHECK(ofHost == std::filesystem::read_symlink("/proc/self/ns/net").string() + "\n");
}

TEST_CASE("runtime: bind mounts, tmpfs and a read-only root", "[runtime][root][cgroup]") {
  OciSubject subject("mounts");
  std::filesystem::create_directories(subject.folder().cStr() + std::string("/shared"));
  std::ofstream(subject.folder().cStr() + std::string("/shared/file")) << "shared\n";
  auto text =
      printed(subject,
              "cat /in/file; echo more > /in/new; touch /ro/x 2>/dev/null || echo ro refused; "
              "stat -c %a /scratch; touch /scratch/x && echo scratch; "
              "grep ' /scratch ' /proc/mounts | grep -c size=1024k; touch /x 2>/dev/null || echo "
              "root refused",
              [&](auto request) {
                request.getSpec().setReadOnly(true);
                auto mounts = request.getSpec().initMounts(3);
                mounts[0].setType(schema::Mount::Type::TMPFS);
                mounts[0].setTarget("/scratch/");
                mounts[0].setTmpfsSizeBytes(1 << 20);
                mounts[0].setTmpfsMode(0700);
                for (unsigned i : {1, 2}) {
                  mounts[i].setType(schema::Mount::Type::BIND);
                  mounts[i].setSource(kj::str(subject.folder(), "/shared"));
                  mounts[i].setTarget(i == 1 ? "/in" : "/ro");
                  mounts[i].setReadOnly(i == 2);
                }
              });
  CHECK(text == "shared\nro refused\n700\nscratch\n1\nroot refused\n");
  CHECK(std::filesystem::exists(subject.folder().cStr() + std::string("/shared/new")));
}

TEST_CASE("runtime: a volume begins as the image's folder and stays", "[runtime][root][cgroup]") {
  OciSubject subject("volumes");
  auto withVolume = [](auto request) {
    auto mount = request.getSpec().initMounts(1)[0];
    mount.setType(schema::Mount::Type::VOLUME);
    mount.setSource("db");
    mount.setTarget("/data");
  };
  CHECK(printed(subject,
                "cat /data/seed; stat -c '%u:%g' /data/seed; stat -c %a /data; "
                "echo kept > /data/own",
                withVolume) == "from the image\n1000:1001\n750\n");
  CHECK(printed(subject, "cat /data/own", withVolume) == "kept\n");

  auto held = subject.request("c2", "sleep 1000");
  withVolume(held.getRequest());
  held.send().wait(subject.waitScope());
  auto volumes = subject.runtime().volumesRequest().send().wait(subject.waitScope());
  REQUIRE(volumes.getVolumes().size() == 1);
  CHECK(volumes.getVolumes()[0].getName() == "db");
  CHECK(volumes.getVolumes()[0].getDriver() == "local");
  CHECK(volumes.getVolumes()[0].getCreatedAtNs() > 0);
  REQUIRE(volumes.getVolumes()[0].getUsedBy().size() == 1);
  CHECK(volumes.getVolumes()[0].getUsedBy()[0] == "c2");
  CHECK(std::filesystem::exists(volumes.getVolumes()[0].getPath().cStr() + std::string("/own")));
  auto removal = subject.runtime().removeVolumeRequest();
  removal.setName("db");
  CHECK(conformance::errorText(removal.send().ignoreResult(), subject.waitScope()) ==
        "volume 'db' is in use by task 'c2'; remove its service first");
  auto prune = [&] {
    std::vector<std::string> names;
    auto answer = subject.runtime().pruneVolumesRequest().send().wait(subject.waitScope());
    for (auto name : answer.getRemoved()) names.push_back(name.cStr());
    return names;
  };
  CHECK(prune().empty());
  subject.remove("c2");
  auto again = subject.runtime().removeVolumeRequest();
  again.setName("db");
  CHECK(again.send().wait(subject.waitScope()).getFound());
  CHECK(printed(subject, "cat /data/seed", withVolume) == "from the image\n");
  CHECK(prune() == std::vector<std::string>{"db"});
  CHECK(subject.runtime().volumesRequest().send().wait(subject.waitScope()).getVolumes().size() ==
        0);
}

TEST_CASE("runtime: an image's volumes are the container's own", "[runtime][root][cgroup]") {
  OciSubject subject("anonymous");
  auto text = printed(subject, "cat /data/seed; grep -c ' /data ' /proc/mounts",
                      [](auto request) { request.getImage().initVolumes(1).set(0, "/data/"); });
  CHECK(text == "from the image\n1\n");
  CHECK(subject.runtime().volumesRequest().send().wait(subject.waitScope()).getVolumes().size() ==
        0);
}

TEST_CASE("runtime: names of hosts", "[runtime][root][cgroup]") {
  OciSubject subject("hosts");
  auto text = printed(subject, "cat /etc/hosts /etc/hostname /etc/resolv.conf", [](auto request) {
    request.getSpec().setHostname("box");
    request.initAddresses(1).set(0, "10.1.2.3/24");
    request.getSpec().initHosts(1).set(0, "db:fd00::7");
    request.getSpec().initDns(1).set(0, "10.0.0.53");
    request.getSpec().initDnsSearch(1).set(0, "example.com");
    request.getSpec().initDnsOptions(1).set(0, "ndots:2");
  });
  CHECK_THAT(text, Catch::StartsWith("127.0.0.1\tlocalhost\n"));
  CHECK_THAT(text, Catch::Contains("fd00::7\tdb\n10.1.2.3\tbox\nbox\n"));
  CHECK_THAT(text, Catch::Contains("nameserver 10.0.0.53\nsearch example.com\noptions ndots:2\n"));
}

TEST_CASE("runtime: files of /etc lie on the disk and are read-only with the root",
          "[runtime][root][cgroup]") {
  OciSubject subject("etc");
  auto script =
      "for f in hosts hostname resolv.conf; do "
      "echo x 2>/dev/null >> /etc/$f && echo written || echo refused; done";
  CHECK(printed(subject, script, [](auto request) { request.getSpec().setReadOnly(true); }) ==
        "refused\nrefused\nrefused\n");
  CHECK(subject.run(subject.request("c1", script)) == 0);
  CHECK(subject.output("c1") == "written\nwritten\nwritten\n");
  CHECK(std::filesystem::exists(subject.diskFile("c1", "hosts")));
  subject.remove("c1");
}

TEST_CASE("runtime: ulimits, sysctls, oom score and tty", "[runtime][root][cgroup]") {
  OciSubject subject("rest");
  auto text = printed(
      subject, "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj",
      [](auto request) {
        auto ulimit = request.getSpec().initUlimits(1)[0];
        ulimit.setName("nofile");
        ulimit.setSoft(100);
        ulimit.setHard(200);
        auto sysctl = request.getSpec().initSysctls(1)[0];
        sysctl.setKey("net.ipv4.ip_forward");
        sysctl.setValue("1");
        request.getSpec().setOomScoreAdj(77);
      });
  CHECK(text == "100\n200\n1\n77\n");
  // What is not given is not inherited from the plugin's own process.
  struct rlimit own;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &own) == 0);
  struct rlimit lower = {512, own.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &lower) == 0);
  CHECK(printed(subject, "ulimit -Sn", [](auto) {}) == "1024\n");
  REQUIRE(setrlimit(RLIMIT_NOFILE, &own) == 0);
  CHECK_THAT(printed(subject, "tty", [](auto request) { request.getSpec().setTty(true); }),
             Catch::StartsWith("/dev/pts/0"));
}

TEST_CASE("runtime: an init reaps", "[runtime][root][cgroup]") {
  OciSubject subject("init");
  CHECK(printed(subject, "readlink /proc/1/exe",
                [](auto request) { request.getSpec().setInit(true); }) == "/sbin/docker-init\n");
}

TEST_CASE("runtime: a hundred layers", "[runtime][root][cgroup]") {
  OciSubject subject("layers");
  auto request = subject.request("c1", "cat /layer; ls /files | wc -l");
  auto layers = request.getRequest().initLayers(100);
  layers.set(0, subject.layer.c_str());
  for (unsigned i = 1; i < 100; ++i) {
    auto path = kj::str(subject.folder(), "/a-layer-with-quite-a-long-name-of-its-own-", i);
    std::filesystem::create_directories(kj::str(path, "/files").cStr());
    std::ofstream(kj::str(path, "/files/", i).cStr()) << i;
    std::ofstream(kj::str(path, "/layer").cStr()) << i << "\n";
    layers.set(i, path);
  }
  CHECK(subject.run(kj::mv(request)) == 0);
  CHECK(subject.output("c1") == "99\n99\n");
  subject.remove("c1");
}

TEST_CASE("runtime: wrong input is refused by name", "[runtime][root][cgroup]") {
  OciSubject subject("refusals");
  auto mount = [](schema::ContainerRequest::Builder request) {
    return request.getSpec().initMounts(1)[0];
  };
  CHECK(refused(subject, [&](auto request) {
          auto bind = mount(request);
          bind.setSource("/no/such/folder");
          bind.setTarget("/x");
        }) == "bind source '/no/such/folder' does not exist");
  CHECK(refused(subject, [&](auto request) {
          auto bind = mount(request);
          bind.setSource("/tmp");
          bind.setTarget("relative");
        }) == "mount target 'relative' is not an absolute path");
  CHECK_THAT(refused(subject, [](auto request) { request.getSpec().setUser("nobodyknows"); }),
             Catch::StartsWith("unknown user 'nobodyknows'"));
  CHECK_THAT(refused(subject, [](auto request) { request.getSpec().setUser("0:nogroup!"); }),
             Catch::StartsWith("unknown group 'nogroup!'"));
  CHECK_THAT(refused(subject, [](auto request) { request.getSpec().setStopSignal("SIGFOO"); }),
             Catch::StartsWith("unknown signal 'SIGFOO'"));
  CHECK_THAT(refused(subject, [](auto request) { request.getSpec().initCapAdd(1).set(0, "FLY"); }),
             Catch::StartsWith("unknown capability 'FLY'"));
  CHECK_THAT(refused(subject, [](auto request) { request.getSpec().initArgs(0); }),
             Catch::StartsWith("no command"));
  CHECK_THAT(
      refused(subject, [](auto request) { request.getResources().setLimitMemoryBytes(4096); }),
      Catch::Contains("below the minimum of 4 MiB"));
  CHECK_THAT(refused(subject, [](auto request) { request.initLayers(1).set(0, "/no/such/layer"); }),
             Catch::StartsWith("cannot use layer '/no/such/layer' of the image"));
  CHECK_THAT(refused(subject, [](auto request) { request.setId("../escape"); }),
             Catch::StartsWith("container id '../escape' is invalid"));
  CHECK_THAT(refused(subject,
                     [](auto request) { request.getNetwork().setNamespace("/no/such/namespace"); }),
             Catch::Contains("/no/such/namespace"));
  CHECK(subject.runtime().listRequest().send().wait(subject.waitScope()).getContainers().size() ==
        0);

  auto request = subject.request("c1", "");
  request.getRequest().getSpec().initArgs(1).set(0, "/no/such/program");
  // Who waits for its end meanwhile is told, too.
  auto never = subject.request("c2", "");
  never.getRequest().getSpec().setUser("nobodyknows");
  auto making = never.send().ignoreResult().catch_([](kj::Exception&&) {}).eagerlyEvaluate(nullptr);
  auto wait = subject.runtime().waitRequest();
  wait.setId("c2");
  CHECK_THAT(conformance::errorText(wait.send().ignoreResult(), subject.waitScope()),
             Catch::StartsWith("unknown user 'nobodyknows'"));
  making.wait(subject.waitScope());
  auto error = conformance::errorText(request.send().ignoreResult(), subject.waitScope());
  CHECK_THAT(error, Catch::Contains("/no/such/program"));
}

}  // namespace
}  // namespace orch::runtime
