// What is in etcd, and what the plugin says while etcd is away, or is another one.
#include <catch2/catch.hpp>

#include "test-backend.h"

namespace orch::discovery::etcd {
namespace {

TEST_CASE("etcd: an entry is where classic Swarm has it, and another process takes it over",
          "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-layout");
  auto first = kj::heap<Backend>(loop, lab.options);
  Backend second(loop, lab.options);
  // It is watched before there is anything.
  auto watching = second.watch(seen);
  loop.until("the empty list", [&] { return shows(seen, {}); });
  CHECK(first->put("10.0.0.1:2377") == "");
  CHECK(lab.get(lab.nodes + "10.0.0.1:2377") == "10.0.0.1:2377\n");
  CHECK(lab.get(lab.details + "10.0.0.1:2377") == "manager digest -\n");
  loop.until("the entry", [&] { return shows(seen, {"10.0.0.1:2377"}); });
  auto lists = seen.lists.size();
  auto revision = lab.etcd.revision();
  CHECK(first->put("10.0.0.1:2377") == "");
  CHECK(lab.etcd.revision() == revision);  // a renewal writes nothing
  // As after a restart: the same entry by another lease.
  auto before = lab.leaseOf(lab.nodes + "10.0.0.1:2377");
  first = nullptr;
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(lab.leaseOf(lab.nodes + "10.0.0.1:2377") != before);
  CHECK(second.put("10.0.0.1:2377", 120'000) == "");
  CHECK(second.put("10.0.0.2:2377") == "");
  loop.until("the other entry", [&] { return seen.lists.back().size() == 2; });
  CHECK(seen.lists.size() == lists + 1);
  // The end of the first one's lease takes nothing of another's with it.
  lab.etcd.ctl({"lease", "revoke", before});
  CHECK(second.put("10.0.0.3:2377") == "");
  loop.until("one more", [&] { return seen.lists.back().size() == 3; });
  CHECK(seen.lists.size() == lists + 2);
  CHECK(seen.failures.empty());
  // What a node is now is told as well.
  CHECK(second.put("10.0.0.1:2377", 120'000, Role::WORKER) == "");
  CHECK(lab.get(lab.details + "10.0.0.1:2377") == "worker digest -\n");
  loop.until("the change", [&] { return seen.lists.size() == lists + 3; });
  // One lease for each entry, and none is left behind by a change of its time.
  CHECK(lab.leases().starts_with("found 3 leases\n"));
}

TEST_CASE("etcd: an entry that nobody renews goes", "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-ttl");
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  lab.etcd.ctl({"put", lab.nodes + "10.0.0.1:1", "10.0.0.1:1"});
  CHECK(plugin.put("10.0.0.8:1", 60'000) == "");
  CHECK(plugin.put("10.0.0.9:1", 1000) == "");
  loop.until("all", [&] { return !seen.lists.empty() && seen.lists.back().size() == 3; });
  loop.until("the end of one", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.8:1"}); });
  CHECK(lab.get(lab.details + "10.0.0.9:1").empty());
  // It can be there again.
  CHECK(plugin.put("10.0.0.9:1", 60'000) == "");
  loop.until("all again", [&] { return seen.lists.back().size() == 3; });
}

TEST_CASE("etcd: an entry whose lease is gone, or taken off it, is made anew by its renewal",
          "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-lease");
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  CHECK(plugin.put("10.0.0.1:1") == "");
  CHECK(plugin.put("10.0.0.9:1") == "");
  auto key = lab.nodes + "10.0.0.9:1";
  auto lease = lab.leaseOf(key);
  lab.etcd.ctl({"lease", "revoke", lease});
  loop.until("the end of one", [&] { return shows(seen, {"10.0.0.1:1"}); });
  CHECK(plugin.put("10.0.0.9:1") == "");
  loop.until("both", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.9:1"}); });
  auto second = lab.leaseOf(key);
  CHECK(second != lease);
  // As a node of classic Swarm might: the same entry, for ever.
  lab.etcd.ctl({"put", key, "10.0.0.9:1"});
  CHECK(lab.leaseOf(key) == "0");
  CHECK(plugin.put("10.0.0.9:1") == "");
  CHECK(lab.leaseOf(key) == second);
  lab.etcd.ctl({"put", lab.details + "10.0.0.9:1", "boss - -"});
  CHECK(plugin.put("10.0.0.9:1") == "");
  CHECK(lab.leaseOf(lab.details + "10.0.0.9:1") == second);
  CHECK(lab.get(lab.details + "10.0.0.9:1") == "manager digest -\n");
}

TEST_CASE("etcd: what happens while it is away is told when it is back, compacted or not",
          "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-away");
  lab.etcd.ctl({"put", lab.nodes + "10.0.0.1:1", "10.0.0.1:1"});
  lab.options.timeoutMs = 1000;
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  loop.until("the registration", [&] { return plugin.put("10.0.0.9:1").empty(); });
  loop.until("both", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.9:1"}); });
  auto lists = seen.lists.size();
  auto before = lab.leaseOf(lab.nodes + "10.0.0.9:1");
  auto failures = seen.failures.size();
  lab.etcd.kill();
  loop.until("the failure", [&] { return seen.failures.size() > failures; });
  CHECK(seen.failures.back().starts_with("etcd at '" + lab.etcd.url() + "' does not answer: "));
  CHECK(seen.failures.back().ends_with("and that 'uri' names them"));
  CHECK(plugin.put("10.0.0.9:1").find("' does not answer: ") != std::string::npos);
  CHECK(seen.lists.size() == lists);
  lab.etcd.start();
  lab.etcd.ctl({"put", lab.nodes + "10.0.0.2:1", "10.0.0.2:1"});
  lab.etcd.ctl({"del", lab.nodes + "10.0.0.1:1"});
  lab.etcd.ctl({"compact", std::to_string(lab.etcd.revision())});
  loop.until("what is there now", [&] { return shows(seen, {"10.0.0.2:1", "10.0.0.9:1"}); });
  // The lease has survived.
  loop.until("the renewal", [&] { return plugin.put("10.0.0.9:1").empty(); });
  CHECK(lab.leaseOf(lab.nodes + "10.0.0.9:1") == before);
  lab.etcd.ctl({"del", lab.nodes + "10.0.0.2:1"});
  loop.until("one of them", [&] { return shows(seen, {"10.0.0.9:1"}); });
}

TEST_CASE("etcd: a copy that is brought back is read, though its history is a shorter one",
          "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-copy");
  auto put = [&](const std::string& address) {
    lab.etcd.ctl({"put", lab.nodes + address, address});
  };
  put("10.0.0.1:1");
  lab.etcd.kill();
  lab.etcd.keepFiles();
  lab.etcd.start();
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  put("10.0.0.2:1");
  put("10.0.0.3:1");
  loop.until("all", [&] { return !seen.lists.empty() && seen.lists.back().size() == 3; });
  lab.etcd.kill();
  lab.etcd.restoreFiles();
  lab.etcd.start();
  loop.until("the one of the copy", [&] { return shows(seen, {"10.0.0.1:1"}); });
  put("10.0.0.4:1");
  loop.until("a new one", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.4:1"}); });
}

}  // namespace
}  // namespace orch::discovery::etcd
