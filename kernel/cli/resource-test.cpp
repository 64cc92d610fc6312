// Generic resources, as the program sends and shows them.
#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

std::string wishes(RecordingServer& server) {
  std::string text;
  for (auto one : server.lastSpec().getTask().getResources().getGeneric()) {
    text += kj::str(text.empty() ? "" : " ", one.getKind(), "=", one.getAmount()).cStr();
  }
  return text;
}

TEST_CASE("cli: generic resources are sent, added, replaced and removed", "[cli]") {
  RecordingServer server;
  REQUIRE(
      server.run(create({"-d", "--generic-resource", "NVIDIA-GPU=2", "--generic-resource=ssd=1"}))
          .status == 0);
  CHECK(wishes(server) == "NVIDIA-GPU=2 ssd=1");
  auto update = [&](Words words) {
    words.insert(words.begin(), {"service", "update", "-d", "web"});
    auto ran = server.run(words);
    CHECK(ran.status == 0);
    CHECK(ran.errors == "");
    return wishes(server);
  };
  CHECK(update({"--generic-resource-add", "ssd=3"}) == "NVIDIA-GPU=2 ssd=3");
  CHECK(update({"--generic-resource-rm", "NVIDIA-GPU"}) == "ssd=3");
  CHECK(update({"--generic-resource-rm", "ssd=3", "--generic-resource-add", "fpga=1"}) == "fpga=1");
  auto pretty = server.run({"service", "inspect", "--pretty", "web"});
  CHECK(has(pretty.out, "Generic: fpga=1\n"));
}

TEST_CASE("cli: a generic resource that is none is refused in a line", "[cli]") {
  RecordingServer server;
  const std::string KINDS =
      "expected KIND=COUNT such as gpu=1, with a kind of 1 to 63 letters, digits, '_', '.' and '-' "
      "that begins with a letter or a digit";
  auto counts = [](const std::string& kind) {
    return "expected " + kind +
           "=COUNT, with a number from 1 to 1000000: how many of them a task gets, not which";
  };
  const std::pair<std::string, std::string> CASES[] = {{"gpu", KINDS},
                                                       {"=1", KINDS},
                                                       {"-gpu=1", KINDS},
                                                       {"g pu=1", KINDS},
                                                       {"", KINDS},
                                                       {std::string(64, 'g') + "=1", KINDS},
                                                       {"gpu=", counts("gpu")},
                                                       {"gpu=0", counts("gpu")},
                                                       {"gpu=-1", counts("gpu")},
                                                       {"gpu=1.5", counts("gpu")},
                                                       {"gpu=GPU-1", counts("gpu")},
                                                       {"gpu=1000001", counts("gpu")},
                                                       {"gpu=1,2", counts("gpu")}};
  for (auto& [value, expected] : CASES) {
    auto ran = server.run(create({"--generic-resource=" + value}));
    CHECK(ran.status == 2);
    CHECK(ran.errors ==
          "orch: invalid value '" + value + "' for --generic-resource: " + expected + "\n");
  }
  auto twice = server.run(create({"--generic-resource", "gpu=1", "--generic-resource", "gpu=2"}));
  CHECK(twice.status == 2);
  CHECK(has(twice.errors, "each one once, not 'gpu' again"));
  CHECK(server.calls.empty());
}

TEST_CASE("cli: a node says what of its resources is in use", "[cli]") {
  RecordingServer server;
  CHECK(server.run({"node", "ls", "--format", "{{.Hostname}}: {{.Resources}}"}).out ==
        "node-1: gpu 1/4\n");
}

TEST_CASE("cli: a node is added with resources to a simulation", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"simulate", "--add", "cpus=8,memory=1g,resource.gpu=2"});
  CHECK(ran.status == 0);
  for (auto bad : {"cpus=8,memory=1g,resource.=2", "cpus=8,memory=1g,resource.gpu=0",
                   "cpus=8,memory=1g,resource.gpu=x"}) {
    CHECK(server.run({"simulate", "--add", bad}).status == 2);
  }
}

}  // namespace
}  // namespace orch::cli
