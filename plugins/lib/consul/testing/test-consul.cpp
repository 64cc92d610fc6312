#include "consul/testing/test-consul.h"

#include <kj/debug.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/held-time.h"
#include "orch/testing/sockets.h"

namespace orch::consul {

namespace {

constexpr const char* PROGRAM = "/usr/bin/consul";

}  // namespace

TestConsul::TestConsul(Env& env, kj::WaitScope& scope, kj::StringPtr testName, size_t size,
                       std::string hcl, bool secure)
    : env(env), scope(scope), folder(testName), hcl(std::move(hcl)), secure(secure), members(size) {
  if (access(PROGRAM, X_OK) != 0) {
    fail(kj::str("consul is not installed: its tests are skipped (scripts/setup)"));
  }
  for (auto& member : members) {
    member.http = testing::freePort();
    member.rpc = testing::freePort();
    member.serf = testing::freePort();
  }
  for (size_t i = 0; i < size; ++i) {
    auto log = kj::str(dataOf(i), ".log");
    members[i].process = kj::heap<testing::TestServer>(env, scope, log);
  }
  for (size_t i = 0; i < size; ++i) start(i);
}

std::string TestConsul::url(size_t member) const {
  return std::string(secure ? "https" : "http") +
         "://127.0.0.1:" + std::to_string(members[member].http);
}
std::vector<std::string> TestConsul::urls() const {
  std::vector<std::string> all;
  for (size_t i = 0; i < members.size(); ++i) all.push_back(url(i));
  return all;
}
kj::String TestConsul::dataOf(size_t member) const { return folder.sub(kj::str("m", member)); }

void TestConsul::start(size_t i) {
  auto& member = members[i];
  ProcessSpec spec;
  auto add = [&](auto&&... parts) { spec.argv.add(kj::str(parts...)); };
  add(PROGRAM);
  add("agent");
  add("-server");
  add("-bootstrap-expect=", members.size());
  add("-node=m", i);
  add("-data-dir=", dataOf(i));
  add("-bind=127.0.0.1");
  add("-client=127.0.0.1");
  add("-server-port=", member.rpc);
  add("-serf-lan-port=", member.serf);
  add("-serf-wan-port=-1");
  add("-dns-port=-1");
  add("-log-level=warn");
  for (auto& other : members) add("-retry-join=127.0.0.1:", other.serf);
  // Elections come as fast as on a network without delay.
  add("-hcl=ports { http = ", secure ? -1 : member.http, ", https = ", secure ? member.http : -1,
      ", grpc = -1 } disable_update_check = true performance { raft_multiplier = 1 }");
  if (!hcl.empty()) add("-hcl=", hcl.c_str());
  member.process->start(kj::mv(spec));
}

void TestConsul::kill(size_t i) { members[i].process->kill(); }

void TestConsul::signal(int number, size_t i) { members[i].process->signal(number); }

void TestConsul::wipe(size_t i) { std::filesystem::remove_all(dataOf(i).cStr()); }

void TestConsul::keepFiles(size_t i) {
  std::filesystem::copy(dataOf(i).cStr(), kj::str(dataOf(i), "-kept").cStr(),
                        std::filesystem::copy_options::recursive);
}
void TestConsul::restoreFiles(size_t i) {
  wipe(i);
  std::filesystem::copy(kj::str(dataOf(i), "-kept").cStr(), dataOf(i).cStr(),
                        std::filesystem::copy_options::recursive);
}

std::string TestConsul::ctl(std::vector<std::string> words, size_t member) {
  ProcessSpec spec;
  spec.argv.add(kj::str(PROGRAM));
  for (auto& word : words) spec.argv.add(kj::str(word.c_str()));
  spec.env.add(kj::str("CONSUL_HTTP_ADDR=", url(member).c_str()));
  if (!token.empty()) spec.env.add(kj::str("CONSUL_HTTP_TOKEN=", token.c_str()));
  auto result = env.command(kj::mv(spec)).wait(scope);
  KJ_REQUIRE(result.status == 0, result.output, result.errors);
  return result.output.cStr();
}

void TestConsul::waitForLeader(size_t member) {
  testing::until(env, scope, "a leader of consul", [&] {
    return attemptNow([&] { ctl({"kv", "get", "-keys", "none"}, member); }).ok();
  });
}

size_t TestConsul::leader() {
  // `m1  ID  127.0.0.1:8300  leader  true  3`
  std::istringstream lines(ctl({"operator", "raft", "list-peers"}));
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" leader ") != std::string::npos) return line[1] - '0';
  }
  KJ_FAIL_REQUIRE("no server leads");
}

std::string TestConsul::aclHcl() {
  return std::string("acl { enabled = true default_policy = \"deny\" tokens { master = \"") +
         MASTER + "\" } }";
}

TestConsul::Token TestConsul::makeToken(const std::string& policy, const std::string& rules) {
  ctl({"acl", "policy", "create", "-name=" + policy, "-rules=" + rules});
  auto printed = ctl({"acl", "token", "create", "-policy-name=" + policy});
  // `SecretID:         11111111-2222-3333-4444-555555555555`
  auto field = [&](const std::string& name) {
    auto at = printed.find(name);
    KJ_REQUIRE(at != std::string::npos, "this is no token", printed.c_str());
    return printed.substr(printed.find_first_not_of(' ', at + name.size()), 36);
  };
  return {field("AccessorID:"), field("SecretID:")};
}

}  // namespace orch::consul
