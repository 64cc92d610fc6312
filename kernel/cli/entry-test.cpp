#include "entry.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <functional>
#include <string>
#include <vector>

#include "display.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::cli {
namespace {

std::string refusal(const std::function<void()>& parse) {
  auto outcome = attemptNow([&] { parse(); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

// The ports as the list column shows them, with the mode.
std::string ports(const char* text) {
  capnp::MallocMessageBuilder message;
  Ports parsed;
  parsePorts("-p", text, message.getOrphanage(), parsed);
  std::string all;
  for (auto& port : parsed) {
    auto one = port.getReader();
    all += kj::str(all.empty() ? "" : " ", one.getPublished(), ":", one.getTarget(),
                   one.getProtocol() == schema::PortSpec::Protocol::UDP ? "/udp" : "",
                   one.getMode() == schema::PortSpec::PublishMode::HOST ? "@host" : "",
                   one.getPreferLocal() ? "@local" : "")
               .cStr();
  }
  return all;
}

TEST_CASE("cli: ports have a short and a long form", "[cli]") {
  struct Case {
    const char* text;
    const char* result;
  };
  for (auto [text, result] :
       std::vector<Case>{{"8080:80", "8080:80"},
                         {"80", "0:80"},
                         {"53:53/udp", "53:53/udp"},
                         {"80:80/TCP", "80:80"},
                         {"53:53/UDP", "53:53/udp"},
                         {":80", "0:80"},
                         {":80-81", "0:80 0:81"},
                         {"8000-8002:80", "8000:80 8001:80 8002:80"},
                         {"target=80,protocol=UDP", "0:80/udp"},
                         {"8080-8082:80-82", "8080:80 8081:81 8082:82"},
                         {"published=8080,target=80", "8080:80"},
                         {"target=80,published=8080,protocol=udp,mode=host", "8080:80/udp@host"},
                         {"published=80,target=80,prefer=local", "80:80@local"},
                         {"target=80,mode=host", "0:80@host"}}) {
    INFO(text);
    CHECK(ports(text) == result);
  }
  for (auto text : {"",
                    "web",
                    "0:80",
                    "80:0",
                    "65536:80",
                    "8080:80/sctp",
                    "1-3:1-2",
                    "3-1:3-1",
                    "127.0.0.1:80:80",
                    "published=80",
                    "target=x",
                    "target=80,mode=vip",
                    "target=80,color=red",
                    "target=80,protocol=icmp",
                    "target=80,prefer=remote",
                    "target=80,prefer=local,mode=host",
                    "8080:",
                    ":",
                    "80:80-81",
                    "target=0"}) {
    INFO(text);
    CHECK(refusal([&] { ports(text); }).rfind("usage: invalid value '", 0) == 0);
  }
}

TEST_CASE("cli: mounts are read by their keys", "[cli]") {
  capnp::MallocMessageBuilder message;
  auto parse = [&](const char* text) {
    return parseMount("--mount", text, message.getOrphanage());
  };
  auto bind = parse("type=bind,source=/a,target=/b,readonly,bind-propagation=rslave");
  CHECK(bind.getReader().getType() == schema::Mount::Type::BIND);
  CHECK(bind.getReader().getSource() == "/a");
  CHECK(bind.getReader().getTarget() == "/b");
  CHECK(bind.getReader().getReadOnly());
  CHECK(bind.getReader().getPropagation() == "rslave");
  auto volume = parse("src=data,dst=/data");
  CHECK(volume.getReader().getType() == schema::Mount::Type::VOLUME);
  auto tmpfs = parse("type=tmpfs,target=/run,tmpfs-size=64m,tmpfs-mode=0700");
  CHECK(tmpfs.getReader().getTmpfsSizeBytes() == 64 << 20);
  CHECK(tmpfs.getReader().getTmpfsMode() == 0700);
  CHECK(parse("type=bind,\"source=/a,b\",target=/c").getReader().getSource() == "/a,b");
  for (auto text :
       {"", "type=nfs,target=/a", "type=volume,source=a", "type=volume,target=/a,tmpfs-size=1m",
        "type=bind,source=/a,target=/b,colour=red", "type=tmpfs,target=/a,tmpfs-mode=9",
        "type=bind,source=/a,target=/b,readonly=maybe", "\"type=bind"}) {
    INFO(text);
    CHECK(refusal([&] { parse(text); }).rfind("usage: invalid value '", 0) == 0);
  }
}

TEST_CASE("cli: an environment variable without a value takes the caller's", "[cli]") {
  LookUp lookUp = [](kj::StringPtr name) { return name == "HOME" ? "/root" : nullptr; };
  CHECK(parseEnv("-e", "A=b=c", lookUp) == "A=b=c");
  CHECK(parseEnv("-e", "A=", lookUp) == "A=");
  CHECK(parseEnv("-e", "HOME", lookUp) == "HOME=/root");
  CHECK(parseEnv("-e", "NOTHING", lookUp) == "");
  CHECK(refusal([&] { parseEnv("-e", "=x", lookUp); }) != "");
  auto lines =
      parseEnvFile("vars", "\xef\xbb\xbf# a comment\n\n  A=1\r\nHOME\nB=x y\nNOTHING", lookUp);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "A=1");
  CHECK(lines[1] == "HOME=/root");
  CHECK(lines[2] == "B=x y");
  CHECK(
      refusal([&] { parseEnvFile("vars", "A=1\nB C=2\n", lookUp); }) ==
      "usage: invalid line 2 of --env-file 'vars': 'B C=2': expected KEY=value with a key without "
      "spaces");
}

TEST_CASE("cli: limits and labels are read", "[cli]") {
  capnp::MallocMessageBuilder message;
  auto limit = message.initRoot<schema::Ulimit>();
  parseUlimit("--ulimit", "nofile=1024:2048", limit);
  CHECK(limit.getSoft() == 1024);
  CHECK(limit.getHard() == 2048);
  parseUlimit("--ulimit", "as=1:2", limit);
  parseUlimit("--ulimit", "core=-1", limit);
  CHECK(limit.getHard() == -1);
  for (auto text : {"", "nofile", "nofile=", "nofile=x", "nofile=-2"}) {
    INFO(text);
    CHECK(refusal([&] { parseUlimit("--ulimit", text, limit); }) != "");
  }
  CHECK(refusal([] { parseLabel("--label", "=x"); }) != "");
  CHECK(refusal([] { parseLabel("--label", "a b=x"); }) != "");
  CHECK(parseLabel("--label", "a").value == "");
}

TEST_CASE("cli: words are split as a shell splits them", "[cli]") {
  auto words = splitWords("--args", R"(sh -c "echo \"a b\"" 'c  d' e\ f '')");
  REQUIRE(words.size() == 6);
  CHECK(words[2] == "echo \"a b\"");
  CHECK(words[3] == "c  d");
  CHECK(words[4] == "e f");
  CHECK(words[5] == "");
  CHECK(splitWords("--args", "  ").size() == 0);
  CHECK(refusal([] { splitWords("--args", "'a"); }) != "");
  CHECK(refusal([] { splitWords("--args", "a\\"); }) != "");
}

}  // namespace
}  // namespace orch::cli
