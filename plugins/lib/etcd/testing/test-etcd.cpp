#include "etcd/testing/test-etcd.h"

#include <kj/debug.h>

#include <filesystem>

#include "orch/testing/sockets.h"

namespace orch::etcd {

TestEtcd::TestEtcd(Env& env, kj::WaitScope& scope, kj::StringPtr testName, size_t size,
                   std::vector<std::string> arguments, kj::StringPtr scheme)
    : env(env),
      scope(scope),
      folder(testName),
      arguments(std::move(arguments)),
      scheme(kj::str(scheme)),
      members(size) {
  for (size_t i = 0; i < size; ++i) {
    members[i].clientPort = testing::freePort();
    members[i].peerPort = testing::freePort();
    cluster += (i > 0 ? "," : "") + std::string("m") + std::to_string(i) +
               "=http://127.0.0.1:" + std::to_string(members[i].peerPort);
  }
  for (size_t i = 0; i < size; ++i) {
    auto log = kj::str(dataOf(i), ".log");
    members[i].process = kj::heap<testing::TestServer>(env, scope, log);
  }
  for (size_t i = 0; i < size; ++i) start(i);
}

std::string TestEtcd::url(size_t member) const {
  return std::string(scheme.cStr()) + "://127.0.0.1:" + std::to_string(members[member].clientPort);
}
std::vector<std::string> TestEtcd::urls() const {
  std::vector<std::string> all;
  for (size_t i = 0; i < members.size(); ++i) all.push_back(url(i));
  return all;
}
kj::String TestEtcd::dataOf(size_t member) const { return folder.sub(kj::str("m", member)); }

void TestEtcd::start(size_t i) {
  auto& member = members[i];
  auto peer = kj::str("http://127.0.0.1:", member.peerPort);
  ProcessSpec spec;
  auto add = [&](auto&&... parts) { spec.argv.add(kj::str(parts...)); };
  add("etcd");
  add("--name=m", i);
  add("--data-dir=", dataOf(i));
  add("--listen-client-urls=", url(i).c_str());
  add("--advertise-client-urls=", url(i).c_str());
  add("--listen-peer-urls=", peer);
  add("--initial-advertise-peer-urls=", peer);
  add("--initial-cluster=", cluster.c_str());
  add("--heartbeat-interval=50");
  add("--election-timeout=500");
  for (auto& argument : arguments) spec.argv.add(kj::str(argument.c_str()));
  spec.env.add(kj::str("PATH=/usr/bin:/bin"));
  member.process->start(kj::mv(spec));
}

void TestEtcd::kill(size_t i) { members[i].process->kill(); }

void TestEtcd::signal(int number, size_t i) { members[i].process->signal(number); }

void TestEtcd::wipe(size_t i) { std::filesystem::remove_all(dataOf(i).cStr()); }

void TestEtcd::keepFiles(size_t i) {
  std::filesystem::copy(dataOf(i).cStr(), kj::str(dataOf(i), "-kept").cStr(),
                        std::filesystem::copy_options::recursive);
}
void TestEtcd::restoreFiles(size_t i) {
  wipe(i);
  std::filesystem::copy(kj::str(dataOf(i), "-kept").cStr(), dataOf(i).cStr(),
                        std::filesystem::copy_options::recursive);
}

std::string TestEtcd::ctl(std::vector<std::string> words, size_t member) {
  ProcessSpec spec;
  spec.argv.add(kj::str("etcdctl"));
  spec.argv.add(kj::str("--endpoints=", url(member).c_str()));
  // It may just be starting, on a machine that is busy.
  spec.argv.add(kj::str("--dial-timeout=60s"));
  spec.argv.add(kj::str("--command-timeout=60s"));
  for (auto& word : words) spec.argv.add(kj::str(word.c_str()));
  spec.env.add(kj::str("PATH=/usr/bin:/bin"));
  spec.env.add(kj::str("ETCDCTL_API=3"));
  auto result = env.command(kj::mv(spec)).wait(scope);
  KJ_REQUIRE(result.status == 0, result.output, result.errors);
  return result.output.cStr();
}

uint64_t TestEtcd::revision() {
  const std::string field = "\"Revision\" : ";
  auto text = ctl({"get", "none", "--write-out=fields"});
  auto at = text.find(field);
  KJ_REQUIRE(at != std::string::npos, text.c_str());
  return std::stoull(text.substr(at + field.size()));
}

}  // namespace orch::etcd
