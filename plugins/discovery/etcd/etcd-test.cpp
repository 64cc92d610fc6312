// What is in etcd, and what the plugin says while etcd is away, or is another one.
#include <catch2/catch.hpp>

#include "lib/testing/entry-cases.h"
#include "test-lab.h"

namespace orch::discovery::etcd {
namespace {

TEST_CASE("etcd: an entry is where classic Swarm has it, and another process takes it over",
          "[discovery][etcd]") {
  anotherProcessTakesOver<Lab>("discovery-etcd-layout");
}

TEST_CASE("etcd: an address that is unregistered while it is being registered is not there",
          "[discovery][etcd]") {
  unregisteredWhileItComes<Lab>("discovery-etcd-order");
}

TEST_CASE("etcd: an entry that nobody renews goes", "[discovery][etcd]") {
  goesUnlessRenewed<Lab>("discovery-etcd-ttl");
}

TEST_CASE("etcd: an entry has one lease, which ends without it when another process takes it over",
          "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-leases");
  auto first = kj::heap<Backend>(loop, lab.options);
  Backend second(loop, lab.options);
  auto watching = second.watch(seen);
  CHECK(first->put("10.0.0.1:2377") == "");
  auto revision = lab.servers.revision();
  CHECK(first->put("10.0.0.1:2377") == "");
  CHECK(lab.servers.revision() == revision);  // a renewal writes nothing
  auto before = lab.leaseOf(lab.nodes + "10.0.0.1:2377");
  first = nullptr;
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(lab.leaseOf(lab.nodes + "10.0.0.1:2377") != before);
  loop.until("the entry", [&] { return shows(seen, {"10.0.0.1:2377"}); });
  auto lists = seen.lists.size();
  // The end of the first one's lease takes nothing of another's with it.
  lab.servers.ctl({"lease", "revoke", before});
  CHECK(second.put("10.0.0.2:2377") == "");
  loop.until("one more", [&] { return seen.lists.back().size() == 2; });
  CHECK(seen.lists.size() == lists + 1);
  CHECK(seen.failures.empty());
  // None is left behind by a change of an entry's time, or of its details.
  CHECK(second.put("10.0.0.1:2377", 120'000) == "");
  CHECK(second.put("10.0.0.1:2377", 120'000, Role::WORKER) == "");
  CHECK(lab.leases().starts_with("found 2 leases\n"));
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
  lab.servers.ctl({"lease", "revoke", lease});
  loop.until("the end of one", [&] { return shows(seen, {"10.0.0.1:1"}); });
  CHECK(plugin.put("10.0.0.9:1") == "");
  loop.until("both", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.9:1"}); });
  auto second = lab.leaseOf(key);
  CHECK(second != lease);
  // As a node of classic Swarm might: the same entry, for ever.
  lab.put(key, "10.0.0.9:1");
  CHECK(lab.leaseOf(key) == "0");
  CHECK(plugin.put("10.0.0.9:1") == "");
  CHECK(lab.leaseOf(key) == second);
  lab.put(lab.details + "10.0.0.9:1", "boss - -");
  CHECK(plugin.put("10.0.0.9:1") == "");
  CHECK(lab.leaseOf(lab.details + "10.0.0.9:1") == second);
  CHECK(lab.get(lab.details + "10.0.0.9:1") == "manager digest -");
}

TEST_CASE("etcd: what happens while it is away is told when it is back, compacted or not",
          "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-away");
  lab.put(lab.nodes + "10.0.0.1:1", "10.0.0.1:1");
  lab.options.timeoutMs = 1000;
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  loop.until("the registration", [&] { return plugin.put("10.0.0.9:1").empty(); });
  loop.until("both", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.9:1"}); });
  auto lists = seen.lists.size();
  auto before = lab.leaseOf(lab.nodes + "10.0.0.9:1");
  auto failures = seen.failures.size();
  lab.servers.kill();
  loop.until("the failure", [&] { return seen.failures.size() > failures; });
  CHECK(seen.failures.back().starts_with("etcd at '" + lab.servers.url() + "' does not answer: "));
  CHECK(seen.failures.back().ends_with("and that 'uri' names them"));
  CHECK(plugin.put("10.0.0.9:1").find("' does not answer: ") != std::string::npos);
  CHECK(seen.lists.size() == lists);
  lab.servers.start();
  lab.put(lab.nodes + "10.0.0.2:1", "10.0.0.2:1");
  lab.servers.ctl({"del", lab.nodes + "10.0.0.1:1"});
  lab.servers.ctl({"compact", std::to_string(lab.servers.revision())});
  loop.until("what is there now", [&] { return shows(seen, {"10.0.0.2:1", "10.0.0.9:1"}); });
  // The lease has survived.
  loop.until("the renewal", [&] { return plugin.put("10.0.0.9:1").empty(); });
  CHECK(lab.leaseOf(lab.nodes + "10.0.0.9:1") == before);
  lab.servers.ctl({"del", lab.nodes + "10.0.0.2:1"});
  loop.until("one of them", [&] { return shows(seen, {"10.0.0.9:1"}); });
}

TEST_CASE("etcd: a copy that is brought back is read, though its history is a shorter one",
          "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-copy");
  auto put = [&](const std::string& address) { lab.put(lab.nodes + address, address); };
  put("10.0.0.1:1");
  lab.servers.kill();
  lab.servers.keepFiles();
  lab.servers.start();
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  put("10.0.0.2:1");
  put("10.0.0.3:1");
  loop.until("all", [&] { return !seen.lists.empty() && seen.lists.back().size() == 3; });
  lab.servers.kill();
  lab.servers.restoreFiles();
  lab.servers.start();
  loop.until("the one of the copy", [&] { return shows(seen, {"10.0.0.1:1"}); });
  put("10.0.0.4:1");
  loop.until("a new one", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.4:1"}); });
}

}  // namespace
}  // namespace orch::discovery::etcd
