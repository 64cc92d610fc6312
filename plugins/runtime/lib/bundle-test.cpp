#include "bundle.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <set>

#include "conmon.h"
#include "etc-files.h"
#include "rootfs.h"
#include "seccomp-profile.h"
#include "signals.h"

namespace orch::runtime {
namespace {

schema::ContainerRequest::Builder requestIn(capnp::MallocMessageBuilder& message) {
  auto request = message.initRoot<schema::ContainerRequest>();
  request.setId("c1");
  request.getSpec().initArgs(1).set(0, "/bin/true");
  return request;
}

nlohmann::json configOf(schema::ContainerRequest::Reader request) {
  auto checked = checkRequest(request);
  BundleInput input{request, checked, {}, "/rootfs", "/orch/c1", {}, "", true};
  return nlohmann::json::parse(ociConfig(input));
}

TEST_CASE("bundle: small shares of a core get a long period", "[runtime]") {
  CHECK(cpuQuota(1'500'000'000).quotaUs == 150'000);
  CHECK(cpuQuota(1'500'000'000).periodUs == 100'000);
  CHECK(cpuQuota(1'000'000).quotaUs == 1000);
  CHECK(cpuQuota(1'000'000).periodUs == 1'000'000);
}

TEST_CASE("bundle: labels cannot steer the runtime", "[runtime]") {
  capnp::MallocMessageBuilder message;
  auto labels = requestIn(message).initLabels(2);
  labels[0].setKey("run.oci.seccomp_bpf_data");
  labels[0].setValue("AAAA");
  labels[1].setKey("com.example.a");
  labels[1].setValue("b");
  auto config = configOf(message.getRoot<schema::ContainerRequest>());
  CHECK(config["annotations"].dump() == R"({"com.example.a":"b"})");
}

TEST_CASE("bundle: memory and swap as docker has them", "[runtime]") {
  capnp::MallocMessageBuilder message;
  auto request = requestIn(message);
  request.getResources().setLimitMemoryBytes(64 << 20);
  CHECK(configOf(request)["linux"]["resources"]["memory"]["swap"] == 128 << 20);
  request.getResources().setMemorySwapBytes(-1);
  CHECK(configOf(request)["linux"]["resources"]["memory"]["swap"] == -1);
}

TEST_CASE("bundle: what JSON cannot hold is refused", "[runtime]") {
  for (auto wrong :
       {"A=\xff", "A=\xc0\xaf", "A=\xed\xa0\x80", "A=\xf4\x90\x80\x80", "A=\xe2\x82"}) {
    capnp::MallocMessageBuilder message;
    auto request = requestIn(message);
    request.getSpec().initEnv(1).set(0, wrong);
    CHECK_THROWS_WITH(checkRequest(request), Catch::Contains("is not valid UTF-8"));
  }
}

TEST_CASE("bundle: a user's mount replaces the standard one at its place", "[runtime]") {
  capnp::MallocMessageBuilder message;
  auto request = requestIn(message);
  auto checked = checkRequest(request);
  BundleInput input{request.asReader(), checked, {}, "/rootfs", "/orch/c1", {}, "", true};
  input.mounts.push_back({"/dev/shm", "tmpfs", "tmpfs", {"size=1"}});
  auto config = nlohmann::json::parse(ociConfig(input));
  unsigned count = 0;
  for (auto& mount : config["mounts"]) {
    if (mount["destination"] != "/dev/shm") continue;
    ++count;
    CHECK(mount["options"].dump() == R"(["size=1"])");
  }
  CHECK(count == 1);
}

TEST_CASE("seccomp: what is allowed grows with the capabilities", "[runtime]") {
  auto allowed = [](CapabilitySet set) {
    std::set<std::string> names;
    for (auto& rule : seccompRules(set)) {
      if (rule.errnoValue == 0 && rule.arguments.empty()) {
        names.insert(rule.names.begin(), rule.names.end());
      }
    }
    return names;
  };
  auto usual = allowed(CapabilitySet::dockerDefault());
  for (auto name : {"read", "clone3", "openat2", "chroot", "ptrace", "arch_prctl"}) {
    CHECK(usual.count(name) == (std::string(name) == "clone3" ? 0 : 1));
  }
  for (auto name : {"mount", "bpf", "keyctl", "kexec_load", "open_by_handle_at", "userfaultfd",
                    "setns", "reboot", "init_module", "clone", "unshare", "add_key"}) {
    INFO(name);
    CHECK(usual.count(name) == 0);
  }
  auto all = allowed(CapabilitySet::all(40));
  for (auto name : {"mount", "bpf", "setns", "reboot", "clone", "clone3", "init_module"}) {
    CHECK(all.count(name) == 1);
  }
  CHECK(all.count("keyctl") == 0);
}

TEST_CASE("seccomp: the filter is compiled once per profile", "[runtime]") {
  SeccompCache cache;
  auto usual = CapabilitySet::dockerDefault();
  auto filter = cache.filterBase64(usual);
  CHECK(filter.size() > 1000);
  CHECK(filter.find('\n') == std::string::npos);
  auto fewer = usual;
  fewer.drop(0);  // CAP_CHOWN, which no rule depends on
  CHECK(cache.filterBase64(fewer) == filter);
  CHECK(cache.filterBase64(CapabilitySet::all(40)) != filter);
}

TEST_CASE("conmon: its answer is the pid or the runtime's words", "[runtime]") {
  CHECK(pidFromSync("{\"data\": 4711}\n", "crun") == 4711);
  auto words = [](kj::StringPtr line) -> std::string {
    try {
      pidFromSync(line, "crun");
    } catch (kj::Exception& e) {
      return e.getDescription().cStr();
    }
    return "";
  };
  CHECK(words("{\"data\": -1, \"message\": \"2026-01-01T00:00:00.000000Z: no `x`\\n\"}\n") ==
        "crun cannot create the container: no `x`");
  CHECK(words("{\"data\": -1, \"message\": \"time=\\\"2026-11-28T13:28:23Z\\\" level=error "
              "msg=\\\"runc create failed: exec: \\\\\\\"/bin\\\\\\\": denied\\\"\\n\"}\n") ==
        "crun cannot create the container: runc create failed: exec: \"/bin\": denied");
  CHECK(words("") == "crun cannot create the container: conmon ended without saying why");
  CHECK(words("{\"data\"") == "crun cannot create the container: conmon ended without saying why");
}

TEST_CASE("signals: names, numbers and real-time ones", "[runtime]") {
  CHECK(signalNumber("") == 15);
  CHECK(signalNumber("SIGKILL") == 9);
  CHECK(signalNumber("usr1") == 10);
  CHECK(signalNumber("3") == 3);
  CHECK(signalNumber("SIGRTMIN+3") == 37);
  CHECK(signalNumber("RTMAX-1") == 63);
  for (auto wrong : {"SIG", "0", "65", "RTMIN-1", "RTMAX+1", "TERMINATE"}) {
    INFO(wrong);
    CHECK_THROWS(signalNumber(wrong));
  }
}

TEST_CASE("etc files: servers on the host's loopback are of no use in a namespace", "[runtime]") {
  capnp::MallocMessageBuilder message;
  auto request = requestIn(message);
  request.getNetwork().setNone();
  kj::StringPtr host = "nameserver 127.0.0.1\nnameserver 10.0.0.2\nsearch lan";
  CHECK(resolvText(request, host) == "nameserver 10.0.0.2\nsearch lan\n");
  request.getNetwork().setHost();
  CHECK(resolvText(request, host) == "nameserver 127.0.0.1\nnameserver 10.0.0.2\nsearch lan\n");
  request.getSpec().initDns(1).set(0, "9.9.9.9");
  CHECK(resolvText(request, host) == "search lan\nnameserver 9.9.9.9\n");
}

TEST_CASE("etc files: of the host's servers only those that can be reached", "[runtime]") {
  capnp::MallocMessageBuilder message;
  auto request = requestIn(message);
  request.getNetwork().setNamespace("/ns");
  CHECK(resolvText(request,
                   "# by hand\nnameserver fe80::1%eth0\nnameserver\t2001:db8::53\n"
                   "nameserver 0.0.0.0\nnameserver ::ffff:127.0.0.1\nnameserver\n"
                   "nameserver\t10.9.9.9 # ours\noptions edns0\n") ==
        "# by hand\nnameserver\t10.9.9.9 # ours\noptions edns0\n");
  auto servers = request.getSpec().initDns(1);
  servers.set(0, "2001:db8::1");  // what the user says is said
  CHECK(resolvText(request, "nameserver 10.9.9.9\n") == "nameserver 2001:db8::1\n");
}

TEST_CASE("etc files: the root alone is no search domain", "[runtime]") {
  capnp::MallocMessageBuilder message;
  auto request = requestIn(message);
  request.getNetwork().setNone();
  CHECK(resolvText(request, "search .\ndomain .\n") == "");  // as systemd-resolved writes it
  CHECK(resolvText(request, "search . lan  example.com\n") == "search lan example.com\n");
  request.getSpec().initDnsSearch(1).set(0, ".");
  CHECK(resolvText(request, "search lan\ndomain lan\n") == "");
  auto both = request.getSpec().initDnsSearch(2);
  both.set(0, "a.example");
  both.set(1, ".");
  CHECK(resolvText(request, "search lan\n") == "search a.example\n");
}

TEST_CASE("users: lines that tools have written badly are read as docker reads them", "[runtime]") {
  capnp::MallocMessageBuilder message;
  auto none = message.initRoot<capnp::List<capnp::Text>>(0).asReader();
  kj::StringPtr passwd =
      "root:x:0:0::/root:/bin/sh\r\nweb:x:33:33:web\n  pad:x:7:7::/pad:/bin/sh\n"
      "short:x:8\nempty:x:9::::\nbad:x:ten:10::/:/bin/sh\n\n# no:line:1:1\n";
  kj::StringPtr group = "  staff:x:50:web , pad \nnobody:x:65534:\r\n";
  auto ids = [&](kj::StringPtr user) { return resolveUser(passwd, group, user, none); };
  CHECK(ids("web").home == "/");
  CHECK(ids("web").groups == std::vector<uint32_t>{33, 50});
  CHECK(ids("pad").uid == 7);
  CHECK(ids("pad").home == "/pad");
  CHECK(ids("pad").groups == std::vector<uint32_t>{7, 50});
  CHECK(ids("short").gid == 0);
  CHECK(ids("empty").gid == 0);
  CHECK(ids("1234").home == "/");
  CHECK(ids("").home == "/root");
  CHECK(ids("web:nobody").gid == 65534);
  CHECK_THROWS_WITH(ids("bad"), Catch::Contains("unknown user 'bad'"));
}

TEST_CASE("bundle: a text with a NUL in it is refused, not cut", "[runtime]") {
  auto refusal = [](auto change) -> std::string {
    capnp::MallocMessageBuilder message;
    auto request = requestIn(message);
    change(request);
    try {
      checkRequest(request);
    } catch (kj::Exception& e) {
      return e.getDescription().cStr();
    }
    return "";
  };
  auto nul = kj::heapString("A=b\0c", 5);
  CHECK(refusal([&](auto r) { r.getSpec().initEnv(1).set(0, nul); }) ==
        "env 'A=b' has a NUL byte in it");
  CHECK(refusal([&](auto r) { r.getImage().initEnv(1).set(0, nul); }) ==
        "env 'A=b' of the image has a NUL byte in it");
  CHECK(refusal([&](auto r) { r.getSpec().initArgs(1).set(0, nul); }) ==
        "argument 'A=b' has a NUL byte in it");
  CHECK(refusal([&](auto r) { r.getSpec().setWorkdir(nul); }) != "");
  CHECK(refusal([&](auto r) { r.getSpec().setUser(nul); }) != "");
}

TEST_CASE("paths: normal form", "[runtime]") {
  CHECK(normalPath("/a//b/./c/../d/") == "/a/b/d");
  CHECK(normalPath("/") == "/");
  CHECK(normalPath("/..") == "/");
  CHECK(normalPath("//x") == "/x");
}

}  // namespace
}  // namespace orch::runtime
